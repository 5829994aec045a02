"""Rubbish in, one sentence out: the real command line, real files, whole messages, and nothing half-written."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import forked
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

COMMAND = Path(sys.executable).with_name("equipoise")
HEAD = "id,arm,gave,amount"


def definition(
    table: str = "rows.csv", *, time: str = "", per_unit: str = "any", system: str = "", more: str = ""
) -> str:
    return f"""
name: mail
hypothesis: A match makes more people give.
changes: [config, system]
unit: {{type: user}}
variants:
  control: {{config: {{letter: plain}}}}
  match: {{config: {{letter: matching}}{system}}}
metrics:
  gave: {{priority: primary, kind: proportion, of: outcome.gave, better: higher, per_unit: {per_unit}, baseline: 0.5, mde: 0.1}}
  amount: {{priority: secondary, kind: mean, of: outcome.amount, better: higher}}
source: {{table: "{table}", unit: id, variant: arm, {time} columns: {{outcome.gave: gave, outcome.amount: amount}}}}
{more}
"""


def rows(
    count: int = 400, *, gave: Callable[[int], object] = lambda i: i * 7 % 10 < 5 + 2 * (i % 2)
) -> list[str]:
    return [f"u{i},{('control', 'match')[i % 2]},{gave(i)},{i % 9}" for i in range(count)]


def table(lines: list[str], head: str = HEAD) -> bytes:
    return ("\n".join([head, *lines]) + "\n").encode()


OFFLINE = """
offline:
  cases: cases.jsonl
  answers: {file: answers.jsonl}
  judge: {pairwise: {file: judged.jsonl}}
"""


def arena_files(win: float) -> dict[str, bytes]:
    cases = [f"case-{number}" for number in range(40)]

    def lines(found) -> bytes:
        return "".join(json.dumps(each) + "\n" for each in found).encode()

    return {
        "mail.yaml": definition(more=OFFLINE).encode(),
        "rows.csv": table(rows()),
        "cases.jsonl": lines({"id": case, "input": case} for case in cases),
        "answers.jsonl": lines(
            {"case": case, "variant": arm, "value": f"{arm} {case}"}
            for case in cases
            for arm in ("control", "match")
        ),
        "judged.jsonl": lines({"case": case, "variant": "match", "value": win} for case in cases),
    }


def damaged_parquet() -> bytes:
    """The names of the columns can be read, and the values cannot."""
    stream = io.BytesIO()
    pq.write_table(pa.table({name: ["1"] * 100 for name in HEAD.split(",")}), stream)
    whole = bytearray(stream.getvalue())
    whole[4:40] = bytes(36)
    return bytes(whole)


@dataclass(frozen=True)
class Case:
    """What lies in the folder, what is said first and then, and how the last command ends."""

    files: dict[str, bytes]
    arguments: str
    code: int
    says: str
    error: str = "DataError"
    before: tuple[str, ...] = ()
    place: str | None = None


def on(
    lines: list[str] | bytes,
    code: int,
    says: str,
    *,
    name: str = "rows.csv",
    head: str = HEAD,
    **declared: str,
) -> Case:
    content = lines if isinstance(lines, bytes) else table(lines, head)
    return Case(
        {"mail.yaml": definition(name, **declared).encode(), name: content}, "analyze mail.yaml", code, says
    )


def prompt_case(content: bytes, says: str) -> Case:
    files = {"mail.yaml": definition(system=", system: {file: prompt.md}").encode(), "prompt.md": content}
    return Case(files, "plan mail.yaml", 2, says, "DefinitionError")


GZIP = gzip.compress(table(rows()), mtime=0)
SHORT = gzip.compress(table(rows(200)), mtime=0)
GOOD = {"mail.yaml": definition().encode(), "rows.csv": table(rows())}
DAMAGED = "Compressed file ended before the end-of-stream marker was reached"


def foreign_database() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE theirs (x)")
    return connection.serialize()


CASES = {
    "no definition": Case(
        {},
        "analyze nosuch.yaml",
        2,
        "the definition nosuch.yaml does not exist; `equipoise init` writes a folder to start from",
        "DefinitionError",
    ),
    "a folder as the definition": Case(
        {"folder/x": b""},
        "plan folder",
        2,
        "the definition folder is a folder, not a file; `equipoise init` writes a folder to start from",
        "DefinitionError",
    ),
    "no table": Case(
        {"mail.yaml": definition().encode()},
        "analyze mail.yaml",
        2,
        "no file matches rows.csv. Check `source.table`; relative paths start at the definition",
    ),
    "a glob without a match": Case(
        {"mail.yaml": definition("part-*.csv").encode(), "rows.csv": table(rows())},
        "analyze mail.yaml",
        2,
        "no file matches part-*.csv. Check `source.table`; relative paths start at the definition",
    ),
    "an empty file": on(b"", 2, "rows.csv is empty: not even a line with the names of the columns"),
    "only a heading": on([], 2, "the table holds no rows with a unit; there is nothing to analyse"),
    "another kind of file": on(
        b"x",
        2,
        "rows.xlsx is not a kind of table this reads. Accepted: .csv, .tsv, .jsonl or "
        ".ndjson (also with .gz), or .parquet",
        name="rows.xlsx",
    ),
    "a gzip cut in half": on(
        GZIP[: len(GZIP) // 2],
        2,
        f"rows.csv.gz is truncated or damaged ({DAMAGED}). Copy it again from where it came",
        name="rows.csv.gz",
    ),
    "a gzip without its last bytes": on(
        GZIP[:-8],
        2,
        f"rows.csv.gz is truncated or damaged ({DAMAGED}). Copy it again from where it came",
        name="rows.csv.gz",
    ),
    "a second member of a gzip cut": on(
        SHORT + GZIP[:40],
        2,
        f"rows.csv.gz is truncated or damaged ({DAMAGED}). Copy it again from where it came",
        name="rows.csv.gz",
    ),
    "no gzip at all": on(
        b"hello",
        2,
        "rows.csv.gz is truncated or damaged (Not a gzipped file (b'he')). Copy it again from where it came",
        name="rows.csv.gz",
    ),
    "a Parquet file that is none": on(
        b"PAR1xxxx",
        2,
        "rows.parquet cannot be read: File 'rows.parquet' too small to be a Parquet file",
        name="rows.parquet",
    ),
    "a Parquet file damaged within": on(
        damaged_parquet(),
        2,
        "rows.parquet cannot be read: TProtocolException: Invalid data",
        name="rows.parquet",
    ),
    "no such column": on(
        rows(),
        2,
        "the table has no column 'gave', which the definition names for outcome.gave; it has: id, arm, gav, amount; "
        "did you mean 'gav'?",
        head="id,arm,gav,amount",
    ),
    "a variant the definition lacks": on(
        [*rows(), "u900,matched,1,1", "u901,matched,1,1"],
        2,
        "2 rows have the variant 'matched', which the definition does not; it has: control, match; did you mean 'match'?. "
        "Add it to `variants:`, or leave those rows out of the table",
    ),
    "a word for a number": on(
        [*rows(), "u900,match,1,lots"],
        2,
        "the column 'amount' (outcome.amount) holds 1 value that is not a number: 'lots'. "
        "Accepted: finite numbers, true, false, or empty for unknown",
    ),
    "a proportion of 2": on(
        [*rows(), "u900,match,2,1"],
        2,
        "gave is a proportion of outcome.gave, and 1 unit has another value than 0 or 1, such as 2. "
        "Use `kind: mean`, or record true and false",
    ),
    "a negative code beside a 0": on(
        [*rows(), "u900,match,-1,1", "u900,match,0,1"],
        2,
        "gave is a proportion of outcome.gave, and 1 unit has another value than 0 or 1, such as -1. "
        "Use `kind: mean`, or record true and false",
    ),
    "numbers without bounds": on(
        [f"{row}e300" for row in rows()],
        2,
        "the values of amount are too large to be added up: their squares leave the range of a number (about 1e308). "
        "Record them in a larger unit",
    ),
    "the last of several, and no time": on(
        [*rows(), "u1,match,1,1"],
        2,
        "1 unit has several rows, and gave takes the last of them; name the time column as `source.time`",
        per_unit="last",
    ),
    "a time that is none": on(
        [*(f"{row},{i}" for i, row in enumerate(rows())), "u900,match,1,1,yesterday"],
        2,
        "the time column 'at' holds 1 value that is not a time: 'yesterday'. Accepted: 2026-01-31 12:00:00, or seconds since 1970",
        head=f"{HEAD},at",
        time="time: at,",
    ),
    "a table that is not UTF-8": on(
        table([*rows(), "caf\xe9,match,1,1"]).decode().encode("latin-1"),
        2,
        "rows.csv cannot be read: it is not UTF-8 text (near line 402). Save it as UTF-8",
    ),
    "a row that is too short": on(
        [*rows(), "u900,match,1"],
        2,
        "rows.csv cannot be read: its rows do not all have the columns that its first line names, a quotation mark is not closed, "
        "or it is not UTF-8 text",
    ),
    "a row that is too short, far down": on(
        [*rows(30_000), "u90000,match,1"],
        2,
        "rows.csv cannot be read: a row has 3 fields (near line 30002), and the first line names 4 columns",
    ),
    "units in two variants, and no time": on(
        [*rows(), *(f"u{i},match,1,1" for i in range(0, 20, 2))],
        5,
        "units in two variants: 10 of 400 units (2.50%) were seen in more than one variant; without a time nobody knows which came "
        "first, so they are left out. More than 1%: the assignment is not to be trusted",
    ),
    "units in two variants, with a time": on(
        [f"{row},1" for row in rows()] + [f"u{i},match,1,1,2" for i in range(0, 20, 2)],
        5,
        "units in two variants: 10 of 400 units (2.50%) were seen in more than one variant; they count for the variant seen first. "
        "More than 1%: the assignment is not to be trusted",
        head=f"{HEAD},at",
        time="time: at,",
    ),
    "an empty arm": on(
        [row for row in rows() if "control" in row],
        5,
        "arms: no unit was seen in match: there is nothing to compare",
    ),
    "a constant outcome": on(
        rows(gave=lambda i: 1),
        5,
        "the primary, gave, cannot be estimated: every unit in both arms has the same outcome, so there is "
        "nothing to compare",
    ),
    "no outcome at all": on(
        rows(gave=lambda i: ""), 5, "the primary, gave, cannot be estimated: no unit of control has a value"
    ),
    "a prompt that is not UTF-8": prompt_case(
        b"caf\xe9",
        "mail.yaml:8: variants.match.system: the prompt file prompt.md is not UTF-8 text: line 1 has the byte 0xe9; save it as UTF-8",
    ),
    "a tag that would build an object": Case(
        {
            "mail.yaml": definition()
            .replace("type: user", "type: !!python/object/apply:os.system ['touch owned']")
            .encode()
        },
        "plan mail.yaml",
        2,
        "",
        "DefinitionError",
    ),
    "a report in a place that is a file": Case(
        GOOD,
        "analyze mail.yaml --report rows.csv/report.html",
        2,
        "rows.csv/report.html cannot be written: File exists",
        "UsageError",
    ),
    "a report over a folder": Case(
        GOOD | {"there/x": b""},
        "analyze mail.yaml --report there",
        2,
        "there cannot be written: Is a directory",
        "UsageError",
    ),
    "a log that is none": Case(
        GOOD,
        "list --log rows.csv",
        2,
        "rows.csv cannot be used as a log: file is not a database",
        "RecordError",
    ),
    "a log that is another program's": Case(
        {"theirs.db": foreign_database()},
        "list --log theirs.db",
        2,
        "theirs.db is an SQLite database of something else, not an event log",
        "RecordError",
    ),
    "no log": Case(
        {},
        "show mail",
        2,
        "there is no log at equipoise.db. Register an experiment first, or name the log with --log",
        "RecordError",
    ),
    "a log in a folder that is missing": Case(
        GOOD,
        "register mail.yaml --log nowhere/equipoise.db",
        2,
        "there is no folder nowhere to keep the log in; make it first",
        "RecordError",
    ),
    "a name that nobody registered": Case(
        GOOD,
        "analyze male",
        2,
        "no experiment called 'male' is registered in this log; it holds: mail; did you mean 'mail'?",
        "RecordError",
        before=("register mail.yaml",),
    ),
    "a gate that failed": Case(
        arena_files(0.0),
        "register mail.yaml --reason please",
        3,
        "may not go live: the offline gate said fail. Change the experiment and try again",
        "GateError",
        before=("arena mail.yaml",),
    ),
    "a gate that nobody ran": Case(
        arena_files(1.0),
        "register mail.yaml",
        3,
        "may not go live yet: the offline gate has not been run for this definition. "
        "Run `equipoise arena` with this log first, or give the reason for going on with --reason",
        "GateError",
    ),
    "no sensible rate": Case(
        {},
        "size proportion --baseline 1.2 --mde 0.05",
        2,
        "baseline must lie strictly between 0 and 1, not 1.2",
        "UsageError",
    ),
    "a name that is too long for a file": Case(
        GOOD, f"register mail.yaml --log {'x' * 300}", 2, f"{'x' * 300}: File name too long", "UsageError"
    ),
    "a name that is too long for a folder": Case(
        {}, f"init {'x' * 300}", 2, f"{'x' * 300}: File name too long", "UsageError"
    ),
    "an effect beyond all numbers": Case(
        {},
        "size proportion --baseline 0.6 --mde 1e999",
        2,
        "--mde 1e999 cannot be read; accepted: a number, '5pp' or '8%'",
        "UsageError",
    ),
    "no such command": Case(
        {}, "analyse mail.yaml", 2, "No such command 'analyse'. Did you mean 'analyze'?", "UsageError"
    ),
    "a command of another tool": Case(
        {},
        "status mail",
        2,
        "there is no command 'status': where an experiment stands is `equipoise rollout NAME`, and all of them are "
        "`equipoise list`",
        "UsageError",
    ),
}
PLAIN = (
    "no definition",
    "a gzip cut in half",
    "a log that is none",
    "a gate that failed",
    "no sensible rate",
)


def held(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class Results(dict[str, tuple[Path, CompletedProcess[str], dict[str, bytes], dict[str, bytes]]]):
    """For each case, once it is asked for: what the last command said, and the folder before and after it."""

    def __init__(self, made: pytest.TempPathFactory) -> None:
        super().__init__()
        self._made = made

    def __missing__(self, name: str):
        case, folder = CASES[name], self._made.mktemp("case")
        for path, content in case.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        for earlier in case.before:
            forked.run([COMMAND, *earlier.split(), "--json"], cwd=folder)
        before = held(folder)
        told = forked.run([COMMAND, *case.arguments.split(), "--json"], cwd=folder)
        self[name] = folder, told, before, held(folder)
        return self[name]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What came of each case."""
    return Results(tmp_path_factory)


@pytest.mark.parametrize("name", CASES)
def test_each_gives_one_clear_sentence_the_right_code_and_leaves_nothing_behind(results, name):
    """With --json: one object, on stderr if it is an error and on stdout if it is a verdict, and the folder as it was."""
    case = CASES[name]
    _, done, before, after = results[name]
    assert "Traceback" not in done.stderr
    assert done.returncode == case.code, done.stderr
    assert after == before
    if case.code == 5:
        assert done.stderr == ""
        told = json.loads(done.stdout)
        assert (told["verdict"], told["because"]) == ("invalid", case.says)
        return
    assert done.stdout == ""
    told = json.loads(done.stderr)
    assert set(told) == {"error", "message", "faults"}
    assert told["error"] == case.error
    if case.error == "GateError":
        identity, _, rest = told["message"].partition(" ")
        assert identity.startswith("mail@")
        assert rest == case.says
    elif case.says:
        assert told["message"] == case.says


@pytest.mark.parametrize("name", PLAIN)
def test_a_person_reads_the_same_sentence(results, name):
    """Without --json: `error: ` and the sentence on stderr, and nothing on stdout; once from the installed script itself."""
    folder, before, _, _ = results[name]
    told = json.loads(before.stderr)["message"]
    words = [COMMAND, *CASES[name].arguments.split()]
    if name == PLAIN[0]:
        done = subprocess.run(words, capture_output=True, text=True, cwd=folder)
    else:
        done = forked.run(words, cwd=folder)
    assert (done.stdout, done.stderr) == ("", f"error: {told}\n")
    assert done.returncode == CASES[name].code


def test_a_tag_builds_nothing(results):
    """The tag is refused with its place, and nothing that it asked for has happened."""
    _, done, _, after = results["a tag that would build an object"]
    (fault,) = json.loads(done.stderr)["faults"]
    assert (fault["line"], fault["field"]) == (5, "unit.type")
    assert "owned" not in after


def test_registering_twice_changes_nothing(tmp_path):
    """The second time it says so, exits with 0, and the log is the same."""
    (tmp_path / "mail.yaml").write_text(definition(), encoding="utf-8")

    def register() -> dict:
        done = subprocess.run(
            [COMMAND, "register", "mail.yaml", "--json"], capture_output=True, text=True, cwd=tmp_path
        )
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    first, log = register(), (tmp_path / "equipoise.db").read_bytes()
    second = register()
    assert (first["already"], second["already"]) == (False, True)
    assert first | {"already": True} == second
    assert (tmp_path / "equipoise.db").read_bytes() == log
