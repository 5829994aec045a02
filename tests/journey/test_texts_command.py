"""Texts by the real program: shown, told of where they are not there, purged, and sampled into a report."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import forked
import pytest
from aiohttp import web
from gateways import definition, gateway, until, upstream, whole
from processes import ASK, QUIET, client

from equipoise.conduct.register import register
from equipoise.events.facts import Exposure, Outcome, Score, Turn
from equipoise.events.opening import open_log, open_texts
from equipoise.events.texts import Said, Text, ToolCall, unit_digest
from equipoise.experiment.reading import read_canonical

ALL = {"text": "all"}


def equipoise(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from equipoise.cli.main import run; run()", *words, "--log", "l.db"]
    return forked.run(command, cwd=cwd, env=QUIET)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A log with one conversation that a gateway served, and what was told of it."""

    async def answers(request, body):
        return web.json_response(whole("Mail jo@example.org.\n\x1b[31mRed\u202e\ttab", model=body["model"]))

    log = open_log(tmp_path / "l.db")
    with upstream(answers) as up, gateway(
        definition(up.port, capture=ALL), definition(up.port, name="none"), log=log,
        texts=lambda create: open_texts(tmp_path / "l.db", create=create),
    ) as at:  # fmt: skip
        for model in ("experiment/bot", "experiment/none"):
            client(at.url).chat.completions.create(
                **ASK | {"model": model},
                extra_headers={"x-conversation-id": "c1" if model.endswith("bot") else "c2"},
            )
        turn, _ = at.facts("turn", at_least=2)
        until(lambda: at.gateway.texts.kept == 1, "the text")
    log.append([
        Outcome(experiment="bot", happened=5.0, unit="c1", name="resolved", value=True, comment="Quick!"),
        Score(experiment="bot", happened=6.0, unit="c1", name="helpful", value=0.75, evaluator="rubric@1"),
    ])  # fmt: skip
    log.close()
    (tmp_path / "trace").write_text(turn.trace)
    return tmp_path


def test_a_conversation_is_shown_with_its_numbers_and_what_became_of_it(folder):
    """By its trace or by its unit; what a model wrote moves no cursor of the terminal."""
    trace = (folder / "trace").read_text()
    shown = equipoise("log", "show", trace, cwd=folder)
    assert (shown.returncode, shown.stderr) == (0, "")
    head, about, numbers, *rest = shown.stdout.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  turn of bot@[0-9a-f]{12}, variant (control|treatment) \(split\)", head)  # fmt: skip
    assert about == f"  trace {trace}, unit c1"
    assert re.search(r"latency_s [\d.e-]+, .*input_tokens 10, .*sampled 1$", numbers)
    assert rest[:-4] == [
        "  user: Where is it?",
        "  answer: Mail [e-mail address].",
        "    �[31mRed�    tab",
    ]
    assert re.fullmatch(
        r"  \(redacted e-mail address: 1; kept until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\)", rest[-4]
    )
    assert rest[-3:] == [
        "",
        "1970-01-01 00:00:05  outcome resolved = True: Quick!",
        "1970-01-01 00:00:06  score helpful = 0.75 by rubric@1",
    ]
    assert equipoise("log", "show", "c1", cwd=folder).stdout == shown.stdout
    told = json.loads(equipoise("log", "show", "c1", "--json", cwd=folder).stdout)
    assert [each["text"]["request"] for each in told["turns"]] == [[{"role": "user", "text": "Where is it?"}]]
    assert (told["outcomes"][0]["comment"], told["scores"][0]["value"]) == ("Quick!", 0.75)


def test_where_there_is_no_text_it_is_said_why(folder):
    """Not captured, not drawn, expired, gone, of an unknown definition; and nothing of that name."""
    none = equipoise("log", "show", "c2", cwd=folder)
    assert "  no text: no text was kept: the definition's `capture` says none\n" in none.stdout
    assert none.stdout.endswith("\n\nno outcome and no score was recorded of it\n")
    log = open_log(folder / "l.db")
    sampled = definition(9, name="some", capture={"text": "sampled", "keep": "2d"})
    register(log, read_canonical(sampled), by="test", reason="a test")
    digest = read_canonical(sampled).digest
    now = time.time()
    log.append(
        [
            Turn(experiment="some", happened=now, unit="u1", digest=digest, sampled=0.05),
            Turn(experiment="some", happened=now - 200_000, unit="u2", digest=digest, sampled=0.05),
            Turn(experiment="some", happened=now, unit="u3", digest=digest),
            Turn(experiment="some", happened=now, unit="u4"),
        ]
    )
    log.close()
    why = [re.findall("  no text: (.*)", equipoise("log", "show", f"u{n}", cwd=folder).stdout) for n in range(1, 5)]  # fmt: skip
    assert why == [
        [
            (
                "it was drawn, with probability 0.05, and its text is not there: it was purged, lost on its way (the gateway's "
                "/healthz counts those), or is kept elsewhere"
            )
        ],
        ["its text has expired: the definition keeps texts for 2 days"],
        ["it was not drawn: the definition keeps the text of 1/20 of the turns"],
        ["no text was kept, and its definition is not in this log"],
    ]
    nobody = equipoise("log", "show", "nobody", cwd=folder)
    assert (nobody.returncode, nobody.stdout) == (2, "")
    assert nobody.stderr == (
        "error: this log holds no turn of a trace or a unit 'nobody'. Name a trace by its 32 hexadecimal digits (the header "
        "x-equipoise-trace of a reply), or a unit as it was given\n"
    )


def test_a_purge_takes_the_texts_too(folder):
    """Facts and texts of the unit; a second purge finds neither, and says so."""
    with sqlite3.connect(folder / "l.db.texts") as rows:
        ((body,),) = rows.execute("SELECT body FROM texts").fetchall()
    done = equipoise("log", "purge", "c1", cwd=folder)
    assert done.stdout == "4 facts purged from bot; l.db keeps how many, and no more\n1 texts purged\n"
    left = b"".join(each.read_bytes() for each in folder.rglob("l.db*") if each.is_file())
    assert body[8:40] not in left
    again = equipoise("log", "purge", "c1", cwd=folder)
    assert again.stdout == "nothing to purge: l.db holds no fact of this unit\n"
    assert json.loads(equipoise("log", "purge", "c1", "--json", cwd=folder).stdout)["texts"] == 0


HOSTILE = "<script>alert(1)</script> & \u202e \x00 {{ 7 * 7 }}"


@pytest.fixture
def judged(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A log with 100 units an arm, of whom ten an arm have texts that try to be a page of their own."""
    log = open_log(tmp_path / "l.db")
    experiment = read_canonical(
        definition(
            9,
            capture=ALL,
            metrics={
                "resolution_rate": {
                    "priority": "primary",
                    "mde": getattr(request, "param", 0.3),
                    "baseline": 0.5,
                }
            },
        )
    )
    register(log, experiment, by="test", reason="a test")
    facts, texts = [], []
    for n in range(200):
        arm, unit = ("control", "treatment")[n % 2], f"u{n}"
        turn = Turn(experiment="bot", happened=2.0, digest=experiment.digest, unit=unit, variant=arm, trace=f"{n:032x}", sampled=1.0)  # fmt: skip
        facts += [
            Exposure(experiment="bot", happened=1.0, digest=experiment.digest, unit=unit, unit_type="conversation",
                     variant=arm, probability=0.5, reason="split"),
            turn,
            Outcome(experiment="bot", happened=3.0, unit=unit, name="resolved", value=n % 4 < 2),
        ]  # fmt: skip
        if n < 20:
            texts.append(
                Text(
                    event_id=turn.event_id, kind="turn", experiment="bot", digest=experiment.digest, variant=arm,
                    trace=f"{n:032x}", unit=unit_digest(unit), happened=2.0, expires=time.time() + 1000, probability=1.0,
                    request=(Said("user", HOSTILE),), answer=f"{HOSTILE}\nsecond line {n}",
                    tools=(ToolCall("find", HOSTILE),), redacted={"IBAN": 2},
                )
            )  # fmt: skip
    log.append(facts)
    log.close()
    store = open_texts(tmp_path / "l.db")
    store.keep(texts)
    store.close()
    return tmp_path


def test_a_report_shows_a_sample_of_conversations_only_to_who_asks(judged):
    """Six of each arm, by a hash, the same every time, escaped, with what was redacted; without the option none."""
    plain = equipoise("analyze", "bot", "--final", "--report", "plain.html", cwd=judged)
    assert plain.returncode in (0, 3, 4, 5), plain.stderr
    asked = equipoise("analyze", "bot", "--final", "--conversations", "--report", "r.html", cwd=judged)
    assert asked.returncode == plain.returncode, asked.stderr
    without, page = (judged / "plain.html").read_text("utf-8"), (judged / "r.html").read_text("utf-8")
    assert "conversations" not in without.lower()
    assert "second line" not in without
    shown = re.findall(r"<summary>(control|treatment), resolution_rate: (yes|no)</summary>", page)
    assert [arm for arm, _ in shown] == ["control"] * 6 + ["treatment"] * 6
    assert page.count("redacted IBAN: 2; trace 0000") == 12
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; {{ 7 * 7 }}" in page
    assert not re.search("[\u202e\x00]", page)
    equipoise("analyze", "bot", "--conversations", "--report", "again.html", cwd=judged)
    assert re.findall("second line [0-9]+", (judged / "again.html").read_text("utf-8")) == re.findall("second line [0-9]+", page)  # fmt: skip
    assert "conversations" not in json.loads(equipoise("analyze", "bot", "--json", cwd=judged).stdout)
    told = json.loads(equipoise("analyze", "bot", "--json", "--conversations", cwd=judged).stdout)
    assert len(told["conversations"]["sampled"]) == 12


@pytest.mark.parametrize("judged", [0.05], indirect=True)
def test_a_peek_shows_no_value_of_the_primary_of_anybody(judged):
    """What is withheld of all units until a look is due is withheld of twelve as well."""
    told = json.loads(equipoise("analyze", "bot", "--json", "--conversations", cwd=judged).stdout)
    values = {each["value"] for each in told["conversations"]["sampled"]}
    assert told["verdict"] == "keep running"
    assert values == {"withheld until a look is due"}


def test_where_no_texts_are_the_report_says_so(judged):
    """None beside the log; and with a table there is nothing to ask for."""
    (judged / "l.db.texts").unlink()
    told = json.loads(equipoise("analyze", "bot", "--json", "--conversations", cwd=judged).stdout)
    assert told["conversations"] == {
        "says": "No texts are there: none were kept beside this log.",
        "metric": "resolution_rate",
        "sampled": [],
    }
