"""Texts of a wrapped client's calls: kept where definition and router both say so, redacted, in nobody's way."""

from __future__ import annotations

import asyncio
import sqlite3
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web
from gateways import streamed, whole
from wrapped import ASK, TREATMENT, facts, responses, run, wrapped

from equipoise.events.facts import Turn
from equipoise.events.opening import open_texts
from equipoise.events.texts import Said, Text, ToolCall, unit_digest

ALL = {"text": "all"}


def texts(log: Path, router: Any) -> list[Text]:
    """The texts of a router's turns, in their order."""
    router._record.texts.flush()
    store = open_texts(log, create=False)
    found = store.named([turn.event_id for turn in facts(router, Turn)], now=0.0)
    store.close()
    return list(found)


def test_a_call_is_kept_as_the_model_was_sent_it(tmp_path: Path) -> None:
    """With the variant's prompt, what was looked up apart, and the answer; under the turn's id and trace."""

    async def calls(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        tools = [{"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"order": 7}'}}]
        return web.json_response(whole("Let me look.", message={"tool_calls": tools}))

    log = tmp_path / "log.db"
    with wrapped(calls, texts=log, capture=ALL) as (client, router, up), client.unit(TREATMENT):
        own = client.chat.completions.create(**ASK).choices[0].message
        said = [*ASK["messages"], own, {"role": "tool", "tool_call_id": "1", "content": "It is in Bonn."}]
        client.chat.completions.create(**(ASK | {"messages": said}))
        first, second = texts(log, router)
        turns = facts(router, Turn)
    assert first.request == (Said("system", "Be brief."), Said("user", "Where is it?"))
    assert (first.answer, first.tools) == ("Let me look.", (ToolCall("find", '{"order": 7}'),))
    assert second.request == (*first.request, Said("assistant", 'Let me look.\nfind({"order": 7})'))
    assert second.context == ("It is in Bonn.",)
    for text, turn in zip((first, second), turns, strict=True):
        assert (text.event_id, text.trace, text.variant) == (turn.event_id, turn.trace, "treatment")
        assert (text.probability, turn.sampled) == (1.0, 1.0)
        assert text.unit == unit_digest(TREATMENT)
        assert len(text.trace) == 32
    assert turns[0].trace != turns[1].trace
    assert len(up.bodies) == 2


@pytest.mark.parametrize(
    ("capture", "told"),
    [({}, True), ({"text": "none"}, True), (ALL, False)],
    ids=["unsaid", "none", "no place"],
)
def test_without_the_definition_or_a_place_nothing_is_kept(
    capture: dict[str, Any], told: bool, tmp_path: Path
) -> None:
    """Both must say so: else there is no file, no draw, and the turn has no trace."""
    log = tmp_path / "log.db"
    more = {"capture": capture} if capture else {}
    with wrapped(texts=log if told else None, **more) as (client, router, _), client.unit(TREATMENT):
        client.chat.completions.create(**ASK)
        [turn] = facts(router, Turn)
    assert (turn.trace, turn.sampled) == (None, None)
    assert list(tmp_path.iterdir()) == []


def test_personal_data_is_gone_before_anything_is_written(tmp_path: Path) -> None:
    """From what was asked and from what was answered, also where it came in pieces of a stream."""

    async def leaky(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await streamed(request, ["Write to jo@exa", "mple.org, ", "please."], body=body)

    log = tmp_path / "log.db"
    ask = ASK | {"messages": [{"role": "user", "content": "My card is 4111 1111 1111 1111"}], "stream": True}
    with wrapped(leaky, texts=log, capture=ALL) as (client, router, _), client.unit(TREATMENT):
        list(client.chat.completions.create(**ask))
        [text] = texts(log, router)
    assert text.request[1] == Said("user", "My card is [card number]")
    assert text.answer == "Write to [e-mail address], please."
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    with sqlite3.connect(tmp_path / "log.db.texts") as rows:
        written += b"".join(zlib.decompress(body) for (body,) in rows.execute("SELECT body FROM texts"))
    assert b"Write to [e-mail" in written
    assert not any(secret in written for secret in (b"4111 1111", b"mple.org", TREATMENT.encode()))


def test_what_the_caller_writes_meanwhile_is_no_part_of_the_request(tmp_path: Path) -> None:
    """Of a stream left early the answer is what was read; the list that the caller goes on with changes nothing."""

    async def slow(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await streamed(request, ["It ", "ships "] + ["late "] * 50, wait=0.01, body=body)

    log = tmp_path / "log.db"
    said = [{"role": "user", "content": "Where is it?"}]
    with wrapped(slow, texts=log, capture=ALL) as (client, router, _), client.unit(TREATMENT):
        stream = client.chat.completions.create(model="theirs", messages=said, stream=True)
        heard = ""
        while heard != "It ships ":
            heard += next(stream).choices[0].delta.content or ""
        said[0]["content"] = "Something else"
        said.append({"role": "assistant", "content": heard})
        stream.close()
        [text] = texts(log, router)
    assert text.request == (Said("system", "Be brief."), Said("user", "Where is it?"))
    assert text.answer == "It ships "


def test_responses_of_an_asynchronous_client_are_kept(tmp_path: Path) -> None:
    """Instructions and input, and the text of the response."""
    log = tmp_path / "log.db"
    with wrapped(responses, texts=log, capture=ALL, kind=openai.AsyncOpenAI) as (client, router, _):

        async def main() -> None:
            with client.unit(TREATMENT):
                await asyncio.gather(
                    *(client.responses.create(model="m", input=f"Where is {each}?") for each in "ab")
                )

        run(main(), client)
        found = texts(log, router)
    assert {text.request[-1].text for text in found} == {"Where is a?", "Where is b?"}
    assert {text.answer for text in found} == {"It ships today."}
    assert {text.request[0] for text in found} == {Said("system", "Be brief.")}


def test_a_share_is_drawn_by_chance_alone(tmp_path: Path) -> None:
    """Of 200 calls at one half, more than 60 and less than 140 are kept: outside by chance once in ten million."""
    log = tmp_path / "log.db"
    half = {"text": "sampled", "share": "1/2"}
    with wrapped(texts=log, capture=half) as (client, router, _), client.unit(TREATMENT):
        for _ in range(200):
            client.chat.completions.create(**ASK)
        kept, turns = texts(log, router), facts(router, Turn)
    assert 60 < len(kept) < 140
    assert {text.event_id for text in kept} == {turn.event_id for turn in turns if turn.sampled == 0.5}
    assert {turn.sampled for turn in turns} == {0.5, None}


def test_a_place_that_takes_no_text_holds_nobody_up(tmp_path: Path) -> None:
    """The call is answered, its turn is on record, and closing the router says what was lost."""
    (tmp_path / "log.db.texts").write_text("not a database, and longer than its header would be" * 40)
    with ExitStack() as stack:
        client, router, _ = stack.enter_context(wrapped(texts=tmp_path / "log.db", capture=ALL))
        with client.unit(TREATMENT):
            assert client.chat.completions.create(**ASK).choices[0].message.content == "It ships today."
        [turn] = facts(router, Turn)
        assert turn.sampled == 1.0
        with pytest.warns(RuntimeWarning, match=r"^1 text was not kept: .*log\.db\.texts"):
            router.close()


def test_a_failed_call_keeps_what_was_asked(tmp_path: Path) -> None:
    """Which request fails is what one wants to know; there is no answer."""

    async def broken(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"error": {"message": "no"}}, status=500)

    log = tmp_path / "log.db"
    with wrapped(broken, texts=log, capture=ALL) as (client, router, _), client.unit(TREATMENT):
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(**ASK)
        [text] = texts(log, router)
    assert (text.request[-1].text, text.answer) == ("Where is it?", "")
