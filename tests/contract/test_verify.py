"""Looks can be repeated: from any log, after anything that came later; and what was changed behind them is found."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from equipoise import load_experiment
from equipoise.cli.main import app
from equipoise.clock import ManualClock
from equipoise.conduct.look import look
from equipoise.conduct.looking.overrun import over_run
from equipoise.conduct.looking.pinning import tools
from equipoise.conduct.register import register
from equipoise.conduct.verify import Difference, verify
from equipoise.errors import RecordError
from equipoise.events.cold.purging import purge
from equipoise.events.cold.sealing import seal
from equipoise.events.cold.shelf import shelf_of
from equipoise.events.facts import Decision, Exposure, Look, Outcome, Turn
from equipoise.events.log import MemoryLog
from equipoise.events.opening import open_log
from equipoise.events.sqlite import SQLiteLog

TEXT = """
name: looks
hypothesis: Three looks keep one promise.
changes: [config]
unit: {type: user}
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}}
metrics:
  won: {priority: primary, kind: proportion, of: outcome.won, better: higher, baseline: 0.5, mde: 0.1}
  cost_per_response: {priority: secondary}
  latency_p95: {priority: guardrail, margin: 50%}
plan: {looks: [0.3, 0.6, 1.0], spending: obrien_fleming}
"""


@pytest.fixture
def design(tmp_path):
    (tmp_path / "looks.yaml").write_text(TEXT, encoding="utf-8")
    return load_experiment(tmp_path / "looks.yaml")


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def log(request, tmp_path):
    match request.param:
        case "memory":
            made = MemoryLog()
        case "sqlite":
            made = SQLiteLog(tmp_path / "log.db")
        case _:
            made = open_log(request.getfixturevalue("postgres").database())
    yield made
    made.close()


def served(log, design, units, *, start=0, lift=0.0):
    rng = random.Random(start)
    facts = []
    for number in range(start, start + units):
        arm = ("control", "b")[number % 2]
        common = {"experiment": "looks", "happened": float(number), "unit": f"u{number}"}
        ids = (f"{number} {part}" for part in ("exposure", "turn", "outcome"))
        facts += [
            Exposure(**common, event_id=next(ids), digest=design.digest, unit_type="user", variant=arm, probability=0.5, reason="split"),
            Turn(**common, event_id=next(ids), variant=arm, latency_s=rng.lognormvariate(0, 0.3), cost_usd=rng.random() / 3, error=False),
            Outcome(**common, event_id=next(ids), name="won", value=rng.random() < 0.5 + lift * (number % 2)),
        ]  # fmt: skip
    log.append(facts)


def three_looks(log, design):
    """Registered, looked at three times, and shipped; returns what each look gave."""
    register(log, design, by="test", clock=ManualClock(1e6))
    given = []
    for start, units in ((0, 300), (300, 250), (550, 400)):
        served(log, design, units, start=start, lift=0.1)
        given.append(look(log, "looks", clock=ManualClock(1e6 + start)))
    assert [each.verdict.word for each in given] == ["keep running", "keep running", "ship"]
    return given


def test_every_look_comes_out_the_same_whatever_came_later(log, design):
    """On every log, after over-run data and a revision: all the same; what was read has the same hash everywhere."""
    given = three_looks(log, design)
    served(log, design, 500, start=950, lift=-0.4)
    told = []
    found = verify(log, "looks", on_progress=lambda *now: told.append(now))
    assert [
        (each.number, each.verdict, each.answer, each.says, each.differences) for each in found.looks
    ] == [
        (1, "keep running", "same", "the same", ()),
        (2, "keep running", "same", "the same", ()),
        (3, "ship", "same", "the same", ()),
    ]
    assert (found.exit_code, found.experiment) == (0, design.identity)
    assert told == [(0, 3, "look 1"), (1, 3, "look 2"), (2, 3, "look 3"), (3, 3, "")]
    kept = [record.fact.evidence for record in log.read_since(kinds=("look",))]
    # The bytes of the read-out, not merely its numbers; but for when events were received, which a copy knows otherwise.
    shown = [each.to_dict() for each in given]
    assert all(each.pop("clocks") for each in shown)
    assert [json.dumps(each["read_out"]) for each in kept] == [json.dumps(each) for each in shown]
    assert [each["facts"] for each in kept] == [
        {
            "exposure": 300,
            "turn": 300,
            "outcome": 300,
            "loss": 0,
            "sha256": "5d6027f4758afca72837b43c4e02c9e2831a294d3defbd7af86f6b3620e1da09",
        },
        {
            "exposure": 550,
            "turn": 550,
            "outcome": 550,
            "loss": 0,
            "sha256": "c70a2fabbf5c437f357d1f9bbcbfb70f4b380f0e828e9353eb59a52007f26d07",
        },
        {
            "exposure": 950,
            "turn": 950,
            "outcome": 950,
            "loss": 0,
            "sha256": "aa54e923a409f9d99bd940e7f8e9f1a0d6b81cddf1c908752d98fc4f8110f1bd",
        },
    ]


def test_data_after_a_verdict_are_an_over_run_and_called_one(log, design):
    """The verdict stands and its read-out does not move; what all the data would say is told apart, and not recorded."""
    *_, final = three_looks(log, design)
    assert over_run(log, "looks") is None
    served(log, design, 500, start=950, lift=-0.4)
    head = log.head()
    assert look(log, "looks").to_html() == final.to_html()
    late = over_run(log, "looks")
    assert late.says == (
        "over-run: what arrived after the verdict (exposure 500, turn 500, outcome 500) does not count in it. Of all the "
        "data together the rule would say hold: won got worse beyond its boundary in b. The verdict stands: ship"
    )
    assert late.analysis.findings.measurement.units == {"control": 725, "b": 725}
    assert late.analysis.findings.look.number == 3
    assert log.head() == head


def test_before_a_verdict_there_is_no_over_run(design):
    """Data after an interim look are the data of the next look."""
    log = MemoryLog()
    register(log, design, by="test", clock=ManualClock(1e6))
    served(log, design, 300)
    look(log, "looks")
    served(log, design, 100, start=300)
    assert over_run(log, "looks") is None


# --- what was changed behind a look ---


@pytest.fixture(scope="module")
def looked(tmp_path_factory):
    """A file with three looks, which is copied and left as it is."""
    folder = tmp_path_factory.mktemp("looked")
    (folder / "looks.yaml").write_text(TEXT, encoding="utf-8")
    log = SQLiteLog(folder / "log.db")
    three_looks(log, load_experiment(folder / "looks.yaml"))
    log.close()
    assert not list(folder.glob("log.db-*"))
    return folder / "log.db"


@pytest.fixture
def file(tmp_path, looked):
    return Path(shutil.copy(looked, tmp_path))


def changed(path: Path, event_id: str | None, kind: str, change) -> None:
    """Somebody edits a fact in the file: the one of this id, or the first of its kind."""
    connection = sqlite3.connect(path)
    where = ("event_id = ?", event_id) if event_id else ("kind = ? ORDER BY position LIMIT 1", kind)
    found, body = connection.execute(
        f"SELECT event_id, body FROM events WHERE {where[0]}", where[1:]
    ).fetchone()
    values = orjson.loads(body)
    change(values)
    connection.execute("UPDATE events SET body = ? WHERE event_id = ?", (orjson.dumps(values), found))
    connection.commit()
    connection.close()


def verified(path: Path):
    log = SQLiteLog(path, create=False)
    try:
        return verify(log, "looks")
    finally:
        log.close()


def asked(path: Path, *words: str):
    return CliRunner().invoke(app, ["verify", "looks", "--log", str(path), *words])


def test_a_changed_fact_shows_in_every_look_that_read_it(file):
    """One turn's cost: the hash, the metric it enters, and nothing of the looks before it."""
    changed(file, "400 turn", "turn", lambda turn: turn.update(cost_usd=9.0))
    found = verified(file)
    assert [each.answer for each in found.looks] == ["same", "differs", "differs"]
    assert found.exit_code == 3
    fields = {difference.field for difference in found.looks[1].differences}
    assert "facts.sha256" in fields
    assert any(field.startswith("read_out.effects[") and field.endswith("].control") for field in fields)
    assert not any(field.startswith(("primary", "boundary", "decision")) for field in fields)
    result = asked(file)
    assert result.exit_code == 3
    assert "\nlook 2, recorded and found:\n  facts.sha256: " in result.stdout
    assert "look 1, recorded" not in result.stdout


def test_a_fact_that_is_gone_or_changed_without_effect_is_found_too(file):
    """The hash and the counts know what the numbers do not."""
    changed(file, "400 turn", "turn", lambda turn: turn.update(model="another"))
    assert [[d.field for d in each.differences] for each in verified(file).looks] == [
        [],
        ["facts.sha256"],
        ["facts.sha256"],
    ]
    connection = sqlite3.connect(file)
    connection.execute("DELETE FROM events WHERE event_id = '800 turn'")
    connection.commit()
    connection.close()
    third = verified(file).looks[2]
    assert Difference("facts.turn", 950, 949) in third.differences


def test_a_changed_look_or_verdict_is_told_field_by_field(file):
    """A boundary moved, a verdict turned: recorded and found, and what to the reader is one thing each."""
    changed(file, None, "look", lambda each: each.update(boundary=1.0))
    changed(file, None, "decision", lambda each: each.update(verdict="ship", arm="b"))
    first = verified(file).looks[0]
    assert first.says == "3 fields differ"
    assert [each.field for each in first.differences] == ["boundary", "decision.verdict", "decision.arm"]
    assert (first.differences[0].recorded, first.differences[1:]) == (
        1.0,
        (Difference("decision.verdict", "ship", "keep running"), Difference("decision.arm", "b", None)),
    )


def test_a_changed_definition_or_plan_is_told(file):
    """The registered definition no longer has the digest that was looked at; the plan no longer its hash."""
    changed(file, None, "registration", lambda each: each["plan"].update(power=0.5))
    assert [[d.field for d in each.differences] for each in verified(file).looks] == [["plan"]] * 3
    changed(file, None, "registration", lambda each: each["definition"].update(hypothesis="Another."))
    assert {(each.answer, each.says) for each in verified(file).looks} == {
        ("differs", "the registered definition is not the one that was looked at")
    }


def test_a_damaged_fact_is_named(file):
    """What cannot be read cannot be the same."""
    connection = sqlite3.connect(file)
    connection.execute("UPDATE events SET body = '{' WHERE event_id = '5 turn'")
    connection.commit()
    connection.close()
    assert verified(file).looks[0].says == (
        "not computed again: event 5 turn (turn) is damaged: unexpected end of data: line 1 column 2 (char 1)"
    )


# --- looks of other versions ---


def kept_boundary(path: Path) -> float:
    log = SQLiteLog(path, create=False)
    boundary = next(log.read_since(kinds=("look",))).fact.boundary
    log.close()
    return boundary


def strip(each) -> None:
    kept = each["evidence"]
    each["evidence"] = {key: kept[key] for key in ("position", "guard_boundary", "units", "primary")}


def test_a_look_of_an_earlier_format_is_said_to_be_one(file):
    """What it kept is compared; where it did not keep up to where it read, nothing can be."""
    right = kept_boundary(file)
    changed(file, None, "look", strip)
    first, *_ = verified(file).looks
    assert (first.answer, first.says) == (
        "same",
        "a look of an earlier format (1, now 2); what it kept is the same",
    )
    changed(file, None, "look", lambda each: each.update(boundary=1.0))
    first, *_ = verified(file).looks
    assert (first.answer, first.says) == (
        "differs",
        "a look of an earlier format (1, now 2); 1 field differs",
    )
    changed(file, None, "look", lambda each: (each.update(boundary=right), each["evidence"].pop("position")))
    found = verified(file)
    assert (found.looks[0].answer, found.looks[0].says, found.exit_code) == (
        "not comparable",
        "a look of an earlier format (1, now 2), which did not keep up to where it read",
        4,
    )


def test_a_look_of_a_later_format_asks_for_an_upgrade(file):
    """Its evidence may mean something else."""
    changed(file, None, "look", lambda each: each["evidence"].update(format=3))
    first, *_ = verified(file).looks
    assert (first.answer, first.says) == (
        "not comparable",
        "written by a later version (format 3, this one reads 2); upgrade equipoise",
    )


def test_the_last_digit_may_be_another_tools(file):
    """Rounding of another version is the same; the same rounding of the same version is a difference."""

    def nudge(each) -> None:
        each["evidence"]["primary"][0]["value"] *= 1 + 1e-14

    changed(file, None, "look", nudge)
    assert [each.field for each in verified(file).looks[0].differences] == ["primary[0].value"]
    changed(file, None, "look", lambda each: each["evidence"]["tools"].update(scipy="1.0"))
    first, *_ = verified(file).looks
    assert (first.answer, first.says) == (
        "same",
        f"the same to nine digits; made with scipy 1.0 (now {tools()['scipy']})",
    )
    changed(file, None, "look", lambda each: each.update(statistic=each["statistic"] + 1))
    first, *_ = verified(file).looks
    assert (first.answer, first.says) == (
        "differs",
        f"2 fields differ; made with scipy 1.0 (now {tools()['scipy']})",
    )


def test_a_verdict_whose_look_kept_no_position_stands(design):
    """Analysing again says why it cannot be shown, and where what was recorded is."""
    log = MemoryLog()
    register(log, design, by="test", clock=ManualClock(1e6))
    taken = Look(experiment="looks", happened=2e6, digest=design.digest, number=1, fraction=1.0, boundary=1.96, final=True, evidence={})  # fmt: skip
    log.append([taken, Decision(experiment="looks", happened=2e6, digest=design.digest, look=taken.event_id, verdict="hold", because="x")])  # fmt: skip
    with pytest.raises(RecordError) as refused:
        look(log, "looks")
    assert str(refused.value) == (
        f"the last look of {design.identity} was written by an earlier version, which did not keep up to where it read. "
        "Its verdict stands and cannot be computed again; `equipoise show looks` has what was recorded"
    )


def test_looks_of_every_revision_are_verified(design, tmp_path):
    """A revision that was replaced keeps its looks, and they are computed from its own definition."""
    log = MemoryLog()
    register(log, design, by="test", clock=ManualClock(1e6))
    served(log, design, 300)
    look(log, "looks", clock=ManualClock(1e6))
    (tmp_path / "looks.yaml").write_text(TEXT.replace("Three looks", "Again, three looks"), encoding="utf-8")
    second = load_experiment(tmp_path / "looks.yaml")
    register(log, second, by="test", clock=ManualClock(2e6))
    served(log, second, 350, start=10_000)
    look(log, "looks", clock=ManualClock(2e6))
    found = verify(log, "looks")
    assert [(each.revision, each.answer) for each in found.looks] == [
        (design.digest, "same"),
        (second.digest, "same"),
    ]


def test_a_table_that_is_gone_cannot_be_compared(tmp_path):
    """The look of a table is the same while the table is; without it nothing can be said."""
    text = TEXT.replace("[0.3, 0.6, 1.0]", "[1.0]").replace(
        "  cost_per_response: {priority: secondary}\n", ""
    )
    text = text.replace("  latency_p95: {priority: guardrail, margin: 50%}\n", "")
    text += "source: {table: t.csv, unit: u, variant: arm, columns: {outcome.won: won}}\n"
    (tmp_path / "looks.yaml").write_text(text, encoding="utf-8")
    rows = [f"u{n},{('control', 'b')[n % 2]},{int(n // 2 * 7 % 10 < 5 + 2 * (n % 2))}" for n in range(2000)]
    (tmp_path / "t.csv").write_text("u,arm,won\n" + "\n".join(rows) + "\n", encoding="utf-8")
    log = MemoryLog()
    register(log, load_experiment(tmp_path / "looks.yaml"), by="test", clock=ManualClock(1e6))
    look(log, "looks", folder=str(tmp_path))
    assert verify(log, "looks", folder=str(tmp_path)).exit_code == 0
    (tmp_path / "t.csv").unlink()
    found = verify(log, "looks", folder=str(tmp_path))
    assert found.exit_code == 4
    assert found.looks[0].says == (
        f"not computed again: no file matches {tmp_path / 't.csv'}. Check `source.table`; relative paths start at the "
        "definition"
    )


# --- the command ---


def test_the_command_says_it_in_a_table_and_in_json(file, design):
    """A line a look; with --json the same as data; the exit code is the answer."""
    result = asked(file)
    assert result.exit_code == 0
    assert result.stdout == (
        f"{design.identity}\n"
        "look                taken  verdict       answer\n"
        "   1  1970-01-12 13:46:40  keep running  same    the same\n"
        "   2  1970-01-12 13:51:40  keep running  same    the same\n"
        "   3  1970-01-12 13:55:50  ship          same    the same\n"
    )
    told = json.loads(asked(file, "--json").stdout)
    assert told["experiment"] == design.identity
    assert [(each["number"], each["answer"], each["differences"]) for each in told["looks"]] == [
        (1, "same", []),
        (2, "same", []),
        (3, "same", []),
    ]


def test_looks_of_a_sealed_log_come_out_the_same(file, tmp_path, monkeypatch):
    """Sealed after the last look, in segments that end anywhere: `verify` and `analyze` say what they said before."""
    monkeypatch.chdir(tmp_path)

    def said():
        words = ("analyze", "looks", "--log", str(file), "--json")
        return asked(file, "--json").stdout, CliRunner().invoke(app, words).stdout

    before = said()
    assert [each["answer"] for each in json.loads(before[0])["looks"]] == ["same"] * 3
    assert seal(file, hot_s=0, segment_facts=130).facts == 950 * 3
    assert said() == before


def test_a_look_is_taken_over_what_was_sealed(design, tmp_path):
    """Sealed before each look, or never: the looks are the same, in every byte of their evidence."""
    evidence = []
    for name, sealed in (("hot.db", False), ("cold.db", True)):
        log = SQLiteLog(tmp_path / name)
        register(log, design, by="test", clock=ManualClock(1e6))
        for start, units in ((0, 300), (300, 250), (550, 400)):
            served(log, design, units, start=start, lift=0.1)
            if sealed:
                seal(tmp_path / name, hot_s=0, segment_facts=200)
            look(log, "looks", clock=ManualClock(1e6 + start))
        evidence.append([record.fact.evidence for record in log.read_since(kinds=("look",))])
        log.close()
    assert len(evidence[0]) == 3
    assert evidence[0] == evidence[1]


def test_a_flipped_bit_in_a_segment_is_no_read_out(file):
    """A segment that is not what was sealed is named by `verify` and by `analyze`, and nothing is computed of it."""
    seal(file, hot_s=0, segment_facts=10_000)
    (table,) = shelf_of(file).glob("*.parquet")
    data = bytearray(table.read_bytes())
    data[len(data) // 2] ^= 1
    table.write_bytes(data)
    why = (
        f"{table} is not what was sealed: its digest is another. Put it back from a copy; "
        "`equipoise log verify` says what else is damaged, and `equipoise log rebuild` makes lost keys anew"
    )
    assert {(each.answer, each.says) for each in verified(file).looks} == {
        ("differs", f"not computed again: {why}")
    }
    log = SQLiteLog(file)
    with pytest.raises(RecordError) as refused:
        look(log, "looks")
    assert str(refused.value) == why
    log.close()


def test_a_look_that_read_a_purged_unit_says_so(file, design):
    """Each look counts the units that it read and that were purged since; what nobody had looked at is no matter."""
    log = SQLiteLog(file)
    served(log, design, 3, start=950)
    log.close()
    for unit, looks in (("u951", "sss"), ("u800", "ssp"), ("u5", "ppp"), ("u400", "ppp")):
        assert purge(file, unit, by="ann", clock=ManualClock(2e6)).facts == 3
        assert "".join(each.answer[0] for each in verified(file).looks) == looks
    found = verified(file)
    assert [each.says for each in found.looks] == [
        "purged: 1 unit; without, the verdict is the same",
        "purged: 2 units; without, the verdict is the same",
        "purged: 3 units; without, the verdict is the same",
    ]
    assert Difference("facts.turn", 300, 299) in found.looks[0].differences
    assert found.exit_code == 4
    result = asked(file)
    assert result.exit_code == 4
    assert result.stdout == (
        f"{design.identity}\n"
        "look                taken  verdict       answer\n"
        "   1  1970-01-12 13:46:40  keep running  purged  purged: 1 unit; without, the verdict is the same\n"
        "   2  1970-01-12 13:51:40  keep running  purged  purged: 2 units; without, the verdict is the same\n"
        "   3  1970-01-12 13:55:50  ship          purged  purged: 3 units; without, the verdict is the same\n"
    )


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("purge", lambda each: each["facts"].update(turn=2)),
        ("purge", lambda each: each["facts"].pop("outcome")),
        ("purge", lambda each: each.update(last=10**9) or each["facts"].pop("turn")),
        ("registration", lambda each: each["plan"].update(power=0.5)),
        ("decision", lambda each: each.update(verdict="ship")),
    ],
    ids=["too few gone", "too many gone", "of a unit that went on", "plan", "verdict"],
)
def test_a_purge_hides_nothing_else(file, kind, change):
    """Facts, plans and verdicts that were changed beside a purge still differ, and it is said that it is not why."""
    purge(file, "u5", by="ann", clock=ManualClock(2e6))
    assert verified(file).looks[0].answer == "purged"
    changed(file, None, kind, change)
    first = verified(file).looks[0]
    assert first.answer == "differs"
    assert first.says.endswith("; purged: 1 unit, which does not account for it")


def test_a_unit_that_went_on_after_the_look_may_lack_a_part(file, design):
    """Of a purged unit that came again after the look only what the look had read is missing from it."""
    log = SQLiteLog(file)
    log.append([Turn(experiment="looks", happened=2e3, unit="u5", variant="b", latency_s=1.0, error=False)])
    log.close()
    assert purge(file, "u5", by="ann", clock=ManualClock(2e6)).facts == 4
    assert [each.answer for each in verified(file).looks] == ["purged"] * 3


def test_where_everybody_was_purged_nothing_can_be_computed(design, tmp_path):
    """A look all of whose units were purged is not called changed."""
    log = SQLiteLog(tmp_path / "log.db")
    register(log, design, by="test", clock=ManualClock(1e6))
    served(log, design, 4)
    assert look(log, "looks", closing=True, clock=ManualClock(1e6)).findings.look.due
    for number in range(4):
        purge(tmp_path / "log.db", f"u{number}", by="ann", clock=ManualClock(2e6))
    (only,) = verify(log, "looks").looks
    assert only.answer == "purged"
    assert only.says == (
        "purged: 4 units; without, nothing can be computed: the log holds no exposure to "
        f"{design.identity} yet. Serve traffic through a Router with this log"
    )
    log.close()


def test_without_a_look_there_is_nothing_to_verify(tmp_path, design):
    """Registered and never looked at: said, and no failure."""
    log = SQLiteLog(tmp_path / "log.db")
    register(log, design, by="test", clock=ManualClock(1e6))
    log.close()
    result = asked(tmp_path / "log.db")
    assert (result.exit_code, result.stdout) == (
        0,
        f"{design.identity} has no recorded look; there is nothing to verify\n",
    )


def test_analyze_tells_of_the_over_run(file, design, tmp_path, monkeypatch):
    """After the summary in text, and under `over_run` in JSON; without late data neither is there."""
    monkeypatch.chdir(tmp_path)

    def analyzed(*words):
        return CliRunner().invoke(app, ["analyze", "looks", "--log", str(file), *words])

    assert "over_run" not in json.loads(analyzed("--json").stdout)
    assert "ver-run" not in analyzed().stdout
    log = SQLiteLog(file)
    served(log, design, 500, start=950, lift=-0.4)
    log.close()
    assert (
        "\nOver-run: what arrived after the verdict (exposure 500, turn 500, outcome 500) "
        in analyzed().stdout
    )
    told = json.loads(analyzed("--json").stdout)
    assert (told["verdict"], told["over_run"]["read_out"]["verdict"]) == ("ship", "hold")
