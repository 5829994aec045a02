"""Texts of turns: kept where the definition says so, redacted before they are written, never in anybody's way."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
import zlib
from pathlib import Path

import httpx2 as httpx
import pytest
from aiohttp import web
from attacking import Process, registered, serving
from failing_disk import failing_disk
from gateways import Ahead, chunk, definition, gateway, streamed, until, upstream, whole
from processes import ASK, client

from equipoise.events.log import MemoryLog
from equipoise.events.opening import open_texts
from equipoise.events.texts import Said, ToolCall, unit_digest

ALL = {"text": "all"}
SECRETS = ("jo@example.org", "4111 1111 1111 1111", "sk-proj-abcdefghijklmnop1234567890")
HOSTILE = (
    "Mail jo@example.org, card 4111 1111 1111 1111, key sk-proj-abcdefghijklmnop1234567890. "
    "jo\u200b@exam\u00adple.org jo\uff20example.org jo%40example.org jo&#64;example.org "
    '{"to": "jo\\u0040example.org", "card": "\\n4111 1111 1111 1111"}'
)


class Store:
    """Texts in a file of a test, and everything that its bytes say."""

    def __init__(self, path: Path) -> None:
        self.log = path / "log.db"
        self.path = path / "log.db.texts"

    def open(self, create: bool = True):
        return open_texts(str(self.log), create=create)

    def all(self, *traces: str, now: float | None = None):
        store = self.open(create=False)
        found = store.of_traces(traces or self.traces(), now=time.time() if now is None else now)
        store.close()
        return found

    def traces(self) -> list[str]:
        with sqlite3.connect(self.path) as rows:
            return sorted({trace for (trace,) in rows.execute("SELECT trace FROM texts")})

    def bytes(self) -> bytes:
        """Every file beside the log that begins with the texts' name, and what is deflated in them."""
        raw = b"".join(each.read_bytes() for each in self.path.parent.glob("log.db.texts*"))
        with sqlite3.connect(self.path) as rows:
            bodies = [body for (body,) in rows.execute("SELECT body FROM texts")]
        return raw + b"".join(map(zlib.decompress, bodies))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def kept(at, count: int) -> None:
    until(lambda: at.gateway.texts.kept >= count, f"{count} texts")


def test_whole_and_streamed_turns_are_kept_with_what_the_model_was_sent(store):
    """Request as sent, context apart, tool calls, answer; the unit as a digest; the turn's id; the probability 1."""

    async def calls(request, body):
        if body.get("stream"):
            return await streamed(request, ["It ", "ships ", "today."], body=body)
        tools = [{"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"order": 7}'}}]
        return web.json_response(whole("Let me look.", message={"tool_calls": tools}))

    said = [
        {"role": "system", "name": "context", "content": "Orders ship in a day."},
        {"role": "user", "content": [{"type": "text", "text": "Where is it?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
    ]  # fmt: skip
    with upstream(calls) as up, gateway(definition(up.port, capture=ALL), texts=store.open) as at:
        talk = client(at.url).chat.completions
        talk.create(model="experiment/bot", messages=said, extra_headers={"x-conversation-id": "ann's own"})
        for _ in talk.create(
            model="experiment/bot",
            messages=said,
            stream=True,
            extra_headers={"x-conversation-id": "ann's own"},
        ):
            pass
        first, second = at.facts("turn", at_least=2)
        kept(at, 2)
        one, two = store.all()
        assert (one.event_id, one.trace, one.variant) == (first.event_id, first.trace, first.variant)
        assert (two.event_id, first.sampled, second.sampled) == (second.event_id, 1.0, 1.0)
        assert one.unit == unit_digest("ann's own")
        assert one.request == (Said("user", "Where is it?\n[image_url, which is not kept]"),)
        assert one.context == ("Orders ship in a day.",)
        assert (one.answer, one.tools) == ("Let me look.", (ToolCall("find", '{"order": 7}'),))
        assert (two.answer, two.tools, two.probability, two.cut) == ("It ships today.", (), 1.0, 0)
        assert b"ann's own" not in store.path.read_bytes()
        assert store.path.stat().st_mode & 0o777 == 0o600


def test_responses_are_kept_like_completions(store):
    """Instructions are the system's message, the input the user's, outputs of functions context."""

    async def reply(request, body):
        said = {"type": "message", "id": "m", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": "Today.", "annotations": []}]}  # fmt: skip
        call = {
            "type": "function_call",
            "id": "f",
            "call_id": "f",
            "name": "find",
            "arguments": "{}",
            "status": "completed",
        }
        return web.json_response(
            {
                "id": "r",
                "object": "response",
                "created_at": 1,
                "model": "model-a",
                "status": "completed",
                "output": [said, call],
                "parallel_tool_calls": True,
                "tool_choice": "auto",
                "tools": [],
            }
        )

    with upstream(reply) as up, gateway(definition(up.port, capture=ALL), texts=store.open) as at:
        client(at.url).responses.create(
            model="experiment/bot",
            instructions="Be brief.",
            input=[
                {"role": "user", "content": "When?"},
                {"type": "function_call_output", "call_id": "x", "output": "tomorrow"},
            ],
            extra_headers={"x-conversation-id": "c1"},
        )
        kept(at, 1)
        (text,) = store.all()
        assert text.request == (Said("system", "Be brief."), Said("user", "When?"))
        assert (text.context, text.answer, text.tools) == (("tomorrow",), "Today.", (ToolCall("find", "{}"),))


@pytest.mark.parametrize("stream", [False, True])
def test_a_hostile_text_does_not_get_past_redaction_into_any_file(store, stream):
    """Personal data in every place of request and answer, cut into pieces and disguised: no byte of it is written."""

    async def echo(request, body):
        call = {
            "id": "1",
            "type": "function",
            "function": {"name": "mail", "arguments": json.dumps({"to": HOSTILE})},
        }
        if not body.get("stream"):
            return web.json_response(whole(HOSTILE, message={"tool_calls": [call]}))
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for character in HOSTILE:
            await response.write(chunk({"content": character}))
        arguments = call["function"]["arguments"]
        for at, character in enumerate(arguments):
            named = {"name": "mail"} if not at else {}
            await response.write(
                chunk({"tool_calls": [{"index": 0, "function": named | {"arguments": character}}]})
            )
        await response.write(chunk({}, "tool_calls") + b"data: [DONE]\n\n")
        return response

    said = [
        {"role": HOSTILE, "content": "x"},
        {"role": "system", "content": HOSTILE},
        {"role": "user", "name": "jo@example.org", "content": [{"type": "text", "text": HOSTILE}, {"type": HOSTILE}]},
        {"role": "assistant", "tool_calls": [{"function": {"name": HOSTILE, "arguments": HOSTILE}}]},
        {"role": "tool", "tool_call_id": HOSTILE, "content": HOSTILE},
        {"role": "user", "content": "x" * 32_760 + " " + HOSTILE},
    ]  # fmt: skip
    with upstream(echo) as up, gateway(definition(up.port, capture=ALL), texts=store.open) as at:
        body = {"model": "experiment/bot", "messages": said, "stream": stream}
        head = {"x-conversation-id": "jo@example.org"}
        assert (
            httpx.post(f"{at.url}/chat/completions", json=body, headers=head, timeout=60).status_code == 200
        )
        kept(at, 1)
        everything = store.bytes().decode("utf-8", "replace")
        assert [each for each in (*SECRETS, "example", "ple.org", "1111 1111") if each in everything] == []
        (text,) = store.all()
        assert text.answer.startswith("Mail [e-mail address], card [card number], key [key or token]. ")
        assert text.redacted["e-mail address"] >= 30
        assert text.cut == 1


def test_what_a_definition_leaves_in_is_kept_as_it_was(store):
    """`nothing` redacts nothing; a kind that is named goes, and the others stay."""
    with upstream() as up:
        raw = definition(up.port, capture=ALL | {"redact": ["nothing"]})
        some = definition(up.port, capture=ALL | {"redact": ["email"]}, name="some")
        ask = {"model": "experiment/bot", "messages": [{"role": "user", "content": "jo@example.org 212-555-0123"}]}  # fmt: skip
        with gateway(raw, some, texts=store.open) as at:
            served = Process(None, at.url)
            served.ask("c1", ask)
            served.ask("c1", ask | {"model": "experiment/some"})
            kept(at, 2)
        assert [each.request[-1].text for each in store.all()] == [
            "jo@example.org 212-555-0123",
            "[e-mail address] 212-555-0123",
        ]


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_blocked_is_kept_as_it_was_answered(store, stream):
    """The answer that a check withheld is nowhere; what the client got in its place is there, and marked."""

    async def leaks(request, body):
        if body.get("stream"):
            return await streamed(request, ["Sure. ", "Write to ", "jo@exa", "mple.org", " now."], body=body)
        return web.json_response(whole("Write to jo@example.org now."))

    inline = [{"check": "pii", "fallback": "I cannot say that."}]
    raw = ALL | {"redact": ["nothing"]}
    with upstream(leaks) as up, gateway(definition(up.port, capture=raw, inline=inline), texts=store.open) as at:  # fmt: skip
        Process(None, at.url).ask("c1", ASK | {"stream": stream})
        kept(at, 1)
        (text,) = store.all()
        assert text.blocked
        assert text.answer == ("Sure. Write to " if stream else "") + "I cannot say that."
        assert b"jo@exa" not in store.bytes()


def test_a_sample_is_drawn_by_chance_and_its_probability_is_in_the_turn(store):
    """A quarter of 400 turns of one unit: between 64 and 140, which misses once in 10,000; nothing where none is kept."""
    capture = {"text": "sampled", "share": "25%"}
    with (
        upstream() as up,
        gateway(
            definition(up.port, capture=capture), definition(up.port, name="none"), texts=store.open
        ) as at,
    ):
        with httpx.Client(timeout=60) as talk:
            for n in range(410):
                model = {"model": "experiment/none"} if n >= 400 else {}
                talk.post(f"{at.url}/chat/completions", json=ASK | model, headers={"x-conversation-id": "c1"})  # fmt: skip
        turns = at.facts("turn", at_least=410)
        drawn = [each.event_id for each in turns if each.sampled is not None]
        kept(at, len(drawn))
        assert 64 <= len(drawn) <= 140
        assert {each.sampled for each in turns} == {None, 0.25}
        assert sorted(each.event_id for each in store.all()) == sorted(drawn)
        assert {each.probability for each in store.all()} == {0.25}


def test_where_no_text_is_kept_there_is_no_file(store):
    """Neither by a gateway that has a place for texts nor by its looking for what has expired."""
    with upstream() as up, gateway(definition(up.port), texts=store.open) as at:
        Process(None, at.url).ask()
        (turn,) = at.facts("turn", at_least=1)
        assert turn.sampled is None
    assert not store.path.exists()


def test_a_shadow_s_answer_stands_beside_the_one_that_was_shown(store):
    """Two texts under one trace, told apart by kind and variant, both with the probability of the draw."""
    rollout = {"stages": ["shadow", "canary", "ab"], "shadow": {"share": "100%"}}

    async def both(request, body):
        return web.json_response(whole(body["model"], model=body["model"]))

    with upstream(both) as up, gateway(definition(up.port, capture=ALL, rollout=rollout), texts=store.open) as at:  # fmt: skip
        Process(None, at.url).ask("c1")
        kept(at, 2)
        (turn,) = at.facts("turn", at_least=1)
        (shadow,) = at.facts("shadow", at_least=1)
        told = {(each.kind, each.variant, each.answer, each.event_id) for each in store.all(turn.trace)}
        assert told == {
            ("turn", None, "model-a", turn.event_id),
            ("shadow", "treatment", "model-b", shadow.event_id),
        }
        assert shadow.sampled == 1.0


def test_texts_expire_with_all_their_bytes(store):
    """After their time they are given to nobody, and no sixteen bytes of what was written are in any file."""
    clock = Ahead()
    with upstream() as up, gateway(definition(up.port, capture=ALL | {"keep": "1h"}), texts=store.open, clock=clock) as at:  # fmt: skip
        served = Process(None, at.url)
        for n in range(60):
            served.ask(f"c{n}", ASK | {"messages": [{"role": "user", "content": f"{n} " * (1 + 37 * n)}]})
        kept(at, 60)
        clock.seconds = 1800
        served.ask("late")
        kept(at, 61)
        with sqlite3.connect(store.path) as rows:
            written = rows.execute(
                "SELECT body, trace, unit FROM texts WHERE unit != ?", (unit_digest("late"),)
            ).fetchall()
            ((living,),) = rows.execute(
                "SELECT body FROM texts WHERE unit = ?", (unit_digest("late"),)
            ).fetchall()
        pieces = [body[n : n + 16] for body, _, _ in written for n in range(0, len(body) - 16, 16)]
        pieces += [name.encode() for _, *names in written for name in names]
        # What is said in both is deflated to the same bytes now and then.
        pieces = [piece for piece in pieces if piece not in living]
        before = store.path.read_bytes()
        assert all(piece in before for piece in pieces)
        opened = store.open()
        soon = time.time() + 3700
        assert len(opened.of_traces(store.traces(), now=soon)) == 1
        assert opened.expire(soon) == 60
        assert opened.expire(soon) == 0
        opened.close()
        after = b"".join(each.read_bytes() for each in store.path.parent.glob("log.db.texts*"))
        assert [piece for piece in pieces if piece in after] == []
        assert len(store.all(now=soon)) == 1


def test_whoever_serves_removes_what_expired_while_nobody_did(store):
    """Also where the definitions that are served keep no text at all."""
    with upstream() as up:
        with gateway(definition(up.port, capture=ALL | {"keep": "1h"}), texts=store.open) as at:
            Process(None, at.url).ask("c1")
            kept(at, 1)
        clock = Ahead()
        clock.seconds = 7200
        with gateway(definition(up.port), texts=store.open, clock=clock):
            until(lambda: not store.traces(), "the removal")


def test_texts_never_hold_up_a_turn_or_an_exposure(store):
    """A store that stands still: turns are answered and kept; what finds no room is lost, counted, and told of."""
    held = store.open()

    class Still:
        def __getattr__(self, name):
            return getattr(held, name)

        def keep(self, texts):
            raise OSError("the disk stands still")

    log = MemoryLog()
    with upstream() as up, gateway(definition(up.port, capture=ALL), texts=lambda create: Still(), log=log) as at:  # fmt: skip
        at.gateway.texts._backlog = 3
        served = Process(None, at.url)
        for n in range(10):
            assert served.ask(f"c{n}").status_code == 200
        assert len(at.facts("turn", at_least=10)) == len(at.facts("exposure", at_least=10)) == 10
        until(lambda: at.gateway.texts.trouble is not None, "the trouble")
        health = served.health()
        assert health["texts"] == {"kept": 0, "lost": 7, "waiting": 3}
        assert health["trouble"] == {"texts": "the disk stands still"}
        assert served.number("equipoise_texts_lost") == 7
        assert at.gateway.recorder.lost == 0
    held.close()


def test_killed_amid_its_texts_it_leaves_a_store_that_reads(tmp_path, store):
    """Killed (SIGKILL) five times while it writes: every text reads, each has its turn's id, none is there twice."""
    with upstream() as up:
        registered(store.log, definition(up.port, capture=ALL))
        for life in range(5):
            with serving(tmp_path) as served:
                for n in range(20):
                    served.ask(f"c{life}-{n}", ASK | {"messages": [{"role": "user", "content": HOSTILE}]})
                served.process.send_signal(signal.SIGKILL)
                served.process.wait()
        texts = store.all()
        assert len(texts) >= 5
        assert len({each.event_id for each in texts}) == len(texts)
        everything = store.bytes().decode("utf-8", "replace")
        assert [each for each in SECRETS if each in everything] == []


def test_a_full_disk_under_the_texts_loses_texts_alone(tmp_path, store):
    """ENOSPC at their file: exposures and turns are all in the log, /healthz says what is wrong, and it recovers."""
    disk = failing_disk(tmp_path, store.path)
    with upstream() as up:
        registered(store.log, definition(up.port, capture=ALL))
        with serving(tmp_path, **disk.env) as served:
            served.ask("first")
            until(lambda: served.health()["texts"]["kept"] == 1, "the first text")
            disk.fail("ENOSPC")
            for n in range(30):
                assert served.ask(f"c{n}").headers["x-equipoise-variant"]
            until(lambda: "texts" in served.health()["trouble"], "the trouble")
            assert served.health()["lost"] == 0
            disk.heal()
            until(lambda: served.health()["texts"]["kept"] == 31, "the recovery")
            assert served.health()["trouble"] == {}
            served.process.send_signal(signal.SIGTERM)
            assert served.process.wait(60) == 0
    assert len(store.all()) == 31


def test_more_is_kept_of_some_than_of_others_where_the_online_judge_reads_more_of_them(store):
    """All of the mobile ones, one of a million of the rest; the turn and its text carry the probability of their own."""
    more = {
        "attributes": {"device": {"type": "text", "from": "header:x-device"}},
        "capture": {"text": "sampled"},
        "online_judge": {"sample": 1e-6, "by": "device", "shares": {"mobile": 1}},
    }
    with upstream() as up, gateway(definition(up.port, **more), texts=store.open) as at:
        for number, device in enumerate(("mobile", "desktop", "mobile", "desktop", "mobile")):
            client(at.url).chat.completions.create(
                **ASK, extra_headers={"x-conversation-id": f"c{number}", "x-device": device}
            )
        turns = at.facts("turn", at_least=5)
        kept(at, 3)
    assert {each.unit: each.sampled for each in turns} == {
        "c0": 1.0,
        "c1": None,
        "c2": 1.0,
        "c3": None,
        "c4": 1.0,
    }
    assert [(each.unit, each.probability) for each in store.all()] == [
        (unit_digest(unit), 1.0) for unit in ("c0", "c2", "c4")
    ]
