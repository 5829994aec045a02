"""`equipoise log`: the record is sealed, verified and exported by the real program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import forked
import pytest
from sealed import exposure, outcome

from equipoise.events.cold.shelf import shelf_of
from equipoise.events.facts import Gate
from equipoise.events.sqlite import SQLiteLog


def equipoise(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from equipoise.cli.main import run; run()", "log", *words]
    return forked.run(command, cwd=cwd)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    log = SQLiteLog(tmp_path / "l.db")
    gate = Gate(experiment="e", happened=1.0, digest="d", decision="pass", evidence={})
    log.append([exposure(), gate, outcome(), outcome(experiment="other"), outcome(unit="Zoë 🙂")])
    log.close()
    return tmp_path


def test_a_log_is_sealed_verified_and_exported(folder: Path) -> None:
    """What young facts mean for the seal is said; the export is the same before and after it."""
    on = ("--log", "l.db")
    young = equipoise("seal", *on, cwd=folder)
    assert young.stdout == "nothing to seal: no fact of traffic in l.db is older than 600 seconds\n"
    before = equipoise("export", *on, cwd=folder)
    lines = [json.loads(line) for line in before.stdout.splitlines()]
    assert [(line["position"], line["kind"], line.get("unit")) for line in lines] == [(1, "exposure", "u"), (2, "gate", None), (3, "outcome", "u"), (4, "outcome", "u"), (5, "outcome", "Zoë 🙂")]  # fmt: skip
    done = equipoise("seal", "--hot", "0", "--facts", "3", "--json", *on, cwd=folder)
    size = sum(each.stat().st_size for each in shelf_of(folder / "l.db").iterdir())
    assert (done.stderr, json.loads(done.stdout)) == ("", {"segments": 2, "facts": 4, "bytes": size})
    assert equipoise("export", *on, cwd=folder).stdout == before.stdout
    said = equipoise("export", "out.jsonl", "--experiment", "e", "--kind", "outcome", *on, cwd=folder)
    assert said.stdout == "2 facts in out.jsonl\n"
    assert (folder / "out.jsonl").read_text("utf-8").splitlines() == [
        line
        for line, read in zip(before.stdout.splitlines(), lines, strict=True)
        if read["kind"] == "outcome" and read["experiment"] == "e"
    ]
    found = equipoise("verify", *on, cwd=folder)
    assert (found.returncode, found.stdout) == (
        0,
        "l.db is sound\n  head: 5; hot: 1; sealed: 4; segments: 2\n",
    )


def test_damage_is_told_and_ends_with_2(folder: Path) -> None:
    """The fault names the file; the stray is listed beside it; the JSON says the same."""
    equipoise("seal", "--hot", "0", "--log", "l.db", cwd=folder)
    shelf = shelf_of(folder / "l.db")
    (table,) = shelf.glob("*.parquet")
    table.write_bytes(table.read_bytes()[:-1])
    (shelf / "left.parquet").touch()
    found = equipoise("verify", "--log", "l.db", cwd=folder)
    fault = (
        f"{table} is not what was sealed: its digest is another. Put it back from a copy; "
        "`equipoise log verify` says what else is damaged, and `equipoise log rebuild` makes lost keys anew"
    )
    assert (found.returncode, found.stderr) == (2, "")
    assert found.stdout == (
        "l.db is damaged\n  head: 5; hot: 1; sealed: 4; segments: 1\n"
        f"  fault: {fault}\n  stray: left.parquet, which the manifest does not name; nobody reads it\n"
    )
    told = equipoise("verify", "--json", "--log", "l.db", cwd=folder)
    assert told.returncode == 2
    assert json.loads(told.stdout) == {"sound": False, "head": 5, "hot": 1, "sealed": 4, "purged": 0, "segments": 1, "faults": [fault], "strays": ["left.parquet"]}  # fmt: skip
    refused = equipoise("export", "out.jsonl", "--log", "l.db", cwd=folder)
    assert (refused.returncode, refused.stderr) == (2, f"error: {fault}\n")
    assert sorted(each.name for each in folder.iterdir()) == ["l.db", "l.db.segments"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export", "--kind", "exposures", "--log", "l.db"), "there are no facts of the kind 'exposures'; there are: alert, allocation, conflict, decision, exposure, gate, impression, label, look, loss, outcome, purge, registration, score, shadow, transition, turn; did you mean 'exposure'?"),
        (("seal", "--log", "absent.db"), "there is no log at absent.db. Register an experiment first, or name the log with --log"),
        (("verify", "--log", "postgresql://h/d"), "`equipoise log verify` is about a log in a file, and this one is elsewhere; name a file with --log. A log in PostgreSQL keeps everything in its one table"),
        (("seal", "--hot", "-1", "--log", "l.db"), "facts cannot stay hot for -1.0 seconds; accepted: 0 or more"),
        (("export", "--json", "--log", "l.db"), "the result of export is JSON lines already; with --json name the file they go to"),
        (("export", "no/where.jsonl", "--log", "l.db"), "no/where.jsonl cannot be written: No such file or directory"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said(folder: Path, words: tuple[str, ...], said: str) -> None:
    """One sentence, nothing on stdout, exit code 2."""
    done = equipoise(*words, cwd=folder)
    shown = json.loads(done.stderr)["message"] if "--json" in words else done.stderr.removeprefix("error: ").strip()  # fmt: skip
    assert (done.returncode, done.stdout, shown) == (2, "", said)


@pytest.mark.parametrize(
    "file",
    [
        "l.db",
        "./l.db",
        "link.jsonl",
        "l.db-wal",
        "l.db.outbox",
        "l.db.windows",
        "l.db.texts",
        "l.db.texts-wal",
        "l.db.segments/out.jsonl",
    ],
)
def test_an_export_does_not_write_over_the_log(folder: Path, file: str) -> None:
    """By whatever name its own file is given, or one beside it; nothing is lost."""
    (folder / "link.jsonl").symlink_to("l.db")
    said = equipoise("export", file, "--log", "l.db", cwd=folder)
    assert (said.returncode, said.stderr) == (
        2,
        f"error: {Path(file)} belongs to the log itself, which the export would write over; name another file\n",
    )
    assert equipoise("verify", "--log", "l.db", cwd=folder).returncode == 0
