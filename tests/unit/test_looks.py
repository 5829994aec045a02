"""Whether a look is due, which boundary belongs to it, and what a log remembers of it."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from equipoise import load_experiment
from equipoise.analysis.looks import PastLook, look_now, planned_looks
from equipoise.clock import ManualClock
from equipoise.conduct.look import look
from equipoise.conduct.register import register
from equipoise.errors import RecordError
from equipoise.events.facts import Exposure, Outcome
from equipoise.events.log import MemoryLog
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.looks.sequential import FARTHEST, crossing_probabilities

TEXT = """
name: looks
hypothesis: Three looks keep one promise.
changes: [config]
unit: {type: user}
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}MORE}
metrics:
  won: {priority: primary, kind: proportion, of: outcome.won, better: higher, baseline: 0.5, mde: 0.1}
  safe: {priority: guardrail, kind: proportion, of: outcome.safe, better: higher, baseline: 0.9, margin: 5pp}
plan: {looks: [0.3, 0.6, 1.0], spending: obrien_fleming}
"""


def experiment(folder: Path, *, arms: str = ""):
    path = folder / "looks.yaml"
    path.write_text(TEXT.replace("MORE", arms), encoding="utf-8")
    return load_experiment(path)


@pytest.fixture
def design(tmp_path):
    return experiment(tmp_path)


def at(design, fraction, *past, closing=False):
    return look_now(
        design,
        information=fraction if isinstance(fraction, NotEstimable) else fraction * 100.0,
        maximum=100.0,
        past=[PastLook(*each) for each in past],
        closing=closing,
    )


def test_between_looks_it_is_a_peek(design):
    """It says how far along it is and where the next look is; nothing is due and nothing final."""
    first = at(design, 0.2)
    assert (first.due, first.final, first.number) == (False, False, 1)
    assert first.says == (
        "a peek at 20% of the planned information; the next registered look is at 30%. Effects are withheld until then"
    )
    later = at(design, 0.45, (0.31, 3.9))
    assert (later.due, later.number) == (False, 2)
    assert "at 45% of the planned information; the next registered look is at 60%" in later.says


def test_a_look_on_time_has_the_planned_boundary(design):
    """At the planned fractions the boundaries are the plan's, and the last look is final."""
    past = []
    for number, planned in enumerate(planned_looks(design), start=1):
        state = at(design, planned.fraction, *past)
        assert (state.due, state.final, state.number, state.of) == (True, number == 3, number, 3)
        assert state.boundary == pytest.approx(planned.boundary, abs=1e-6)
        past.append((state.at, state.boundary))
    assert crossing_probabilities([f for f, _ in past], [b for _, b in past]).total == pytest.approx(
        0.05, abs=1e-6
    )


def test_several_fractions_passed_at_once_are_one_look(design):
    """Nobody looked at 30 %: at 70 % one look is due, and it may spend what both would have."""
    state = at(design, 0.7)
    assert (state.due, state.final, state.number) == (True, False, 1)
    assert state.boundary < at(design, 0.7, (0.3, planned_looks(design)[0].boundary)).boundary + 1e-3
    assert state.says == "look 1 of at most 3 in the plan, at 70% of the planned information"


def test_a_look_that_was_taken_is_not_due_again(design):
    """The same data, and data with less information than before, are peeks."""
    assert not at(design, 0.31, (0.31, 3.9)).due
    assert not at(design, 0.25, (0.31, 3.9)).due
    assert not at(design, 0.59, (0.31, 3.9)).due


def test_closing_spends_what_is_left(design):
    """No more data will come at 50 %: the look is the last and its boundary lies below the interim one."""
    interim, closed = at(design, 0.65, (0.3, 3.9)), at(design, 0.65, (0.3, 3.9), closing=True)
    assert (interim.final, closed.final, closed.due) == (False, True, True)
    assert closed.boundary < interim.boundary
    both = crossing_probabilities([0.3, closed.at], [3.9, closed.boundary])
    assert both.total == pytest.approx(0.05, abs=1e-6)
    assert closed.says.endswith("; the last: it may spend all the alpha that is left")


def test_more_information_than_planned_is_the_last_look(design):
    """An over-run is final; the boundary reckons with the information there is, not with 100 %."""
    state = at(design, 1.4, (0.3, 3.9))
    assert (state.due, state.final, state.at) == (True, True, 1.4)
    assert crossing_probabilities([0.3, 1.4], [3.9, state.boundary]).total == pytest.approx(0.05, abs=1e-6)


def test_looking_on_after_the_last_look_never_breaks(design):
    """An invalid last look is no verdict; whoever analyses again, closing or not, gets an answer, and no new alpha."""
    past = []
    for fraction, closing in (
        (1.05, False),
        (1.2, True),
        (NotEstimable("x"), True),
        (0.4, True),
        (NotEstimable("x"), True),
    ):
        state = at(design, fraction, *past, closing=closing)
        past.append((state.at, state.boundary))
    # The first spent everything; what the others may spend is rounding.
    assert all(4.0 < boundary <= FARTHEST for _, boundary in past[1:])
    assert not at(design, 1.3, *past).due
    fractions = [fraction for fraction, _ in past]
    assert fractions == sorted(set(fractions))


def test_where_the_information_is_unknown_only_closing_makes_a_look(design):
    """A peek says why it cannot tell; a closing look stands at the end of the scale."""
    unknown = at(design, NotEstimable("no unit of control has a value"))
    assert (unknown.due, unknown.fraction) == (False, None)
    assert unknown.says == (
        "a peek: how far along the experiment is cannot be told (no unit of control has a value). Effects are withheld"
    )
    closed = at(design, NotEstimable("no unit of control has a value"), closing=True)
    assert (closed.due, closed.final, closed.fraction, closed.at) == (True, True, None, 1.0)
    assert closed.boundary == pytest.approx(1.959964, abs=1e-4)


def test_arms_share_the_alpha_of_the_primary_and_each_guardrail_has_its_own(tmp_path):
    """With two treatments the primary's boundary is that of 0.025, the guardrails' that of 0.05, at every look."""
    two = experiment(tmp_path, arms=", c: {config: {x: 3}}")
    one = experiment(tmp_path)
    past_two, past_one = [], []
    for fraction in (0.3, 0.6, 1.0):
        state, single = at(two, fraction, *past_two), at(one, fraction, *past_one)
        assert single.guard_boundary == single.boundary
        # What the guardrails spent at earlier looks is reckoned by their own boundaries, not by the primary's.
        assert state.guard_boundary == pytest.approx(single.guard_boundary, abs=1e-9)
        assert state.boundary > single.boundary
        past_two.append((state.at, state.boundary, None, state.guard_boundary))
        past_one.append((single.at, single.boundary))


# --- on a log ---


def served(
    log, design, units: int, *, start: int = 0, lift: float = 0.0, safe: float = 0.95, seed: int = 1
) -> None:
    rng = random.Random(f"{seed} {start}")
    facts = []
    for number in range(start, start + units):
        arm = ("control", "b")[number % 2]
        common = {"experiment": design.name, "happened": float(number), "unit": f"u{number}"}
        facts += [
            Exposure(
                **common, digest=design.digest, unit_type="user", variant=arm, probability=0.5, reason="split"
            ),
            Outcome(**common, name="won", value=rng.random() < 0.5 + lift * (number % 2)),
            Outcome(**common, name="safe", value=rng.random() < safe),
        ]
    log.append(facts)


def registered(design):
    log = MemoryLog(ManualClock(1e6))
    register(log, design, by="test", clock=ManualClock(1e6))
    return log


def kinds(log) -> list[str]:
    return [record.fact.kind for record in log.read_since(kinds=("look", "decision"))]


def test_a_peek_leaves_no_trace_and_a_look_leaves_two_facts(design):
    """Looking early writes nothing; the registered look writes itself and the decision, with their evidence."""
    log = registered(design)
    served(log, design, 100)
    peek = look(log, "looks")
    assert (peek.verdict.word, kinds(log)) == ("keep running", [])
    assert {effect.priority for effect in peek.findings.effects} == {"guardrail"}
    served(log, design, 400, start=100)
    head = log.head()
    first = look(log, "looks", clock=ManualClock(2e6))
    taken, decided = (record.fact for record in log.read_since(kinds=("look", "decision")))
    assert (taken.number, taken.happened, taken.evidence["position"]) == (1, 2e6, head)
    assert taken.fraction == first.findings.look.fraction
    assert (taken.boundary, taken.final) == (first.findings.look.boundary, False)
    assert (decided.look, decided.verdict) == (taken.event_id, "keep running")
    # The same data again are a peek: no second chance.
    assert not look(log, "looks").findings.look.due
    assert kinds(log) == ["look", "decision"]


def test_a_final_verdict_is_recomputed_from_what_it_was_computed_from(design):
    """Data that arrive after the verdict do not move it; the report comes out in the same bytes."""
    log = registered(design)
    served(log, design, 1000, lift=0.2)
    final = look(log, "looks")
    assert (final.verdict.word, final.verdict.arm) == ("ship", "b")
    served(log, design, 1000, start=1000, lift=-0.4)
    again = look(log, "looks")
    assert again == final
    assert again.to_html() == final.to_html()
    assert kinds(log) == ["look", "decision"]


def test_a_breach_at_a_peek_ends_the_experiment(design):
    """Rolling back does not wait for a look, is recorded, and is final."""
    log = registered(design)
    served(log, design, 60)
    assert kinds(log) == []
    rng = random.Random(3)
    facts = []
    for number in range(1000, 1120):
        arm = ("control", "b")[number % 2]
        common = {"experiment": "looks", "happened": float(number), "unit": f"u{number}"}
        facts += [
            Exposure(
                **common, digest=design.digest, unit_type="user", variant=arm, probability=0.5, reason="split"
            ),
            Outcome(**common, name="safe", value=arm == "control" or rng.random() < 0.05),
            Outcome(**common, name="won", value=number % 4 < 2),
        ]
    log.append(facts)
    stopped = look(log, "looks")
    assert stopped.verdict.word == "roll back"
    assert not stopped.findings.look.due
    assert kinds(log) == ["look", "decision"]
    assert look(log, "looks").verdict == stopped.verdict


def test_closing_twice_on_data_that_decide_nothing_is_harmless(design):
    """Nobody has the outcome: each closing look is invalid, says why, and the next one still works."""
    log = registered(design)
    log.append(
        Exposure(
            experiment="looks",
            happened=1.0,
            digest=design.digest,
            unit=f"u{number}",
            unit_type="user",
            variant=("control", "b")[number % 2],
            probability=0.5,
            reason="split",
        )
        for number in range(40)
    )
    for _ in range(4):
        invalid = look(log, "looks", closing=True)
        assert invalid.verdict.word == "invalid"
        assert (
            invalid.verdict.because == "the primary, won, cannot be estimated: no unit of control has a value"
        )
        assert "no unit of control has a value" in invalid.to_html()
    fractions = [record.fact.fraction for record in log.read_since(kinds=("look",))]
    assert fractions == sorted(set(fractions))


def test_a_peek_shows_no_primary_anywhere(design):
    """Not in JSON, not in text, not on the page: what is withheld cannot be read off."""
    log = registered(design)
    served(log, design, 100, lift=0.4)
    peek = look(log, "looks")
    told = peek.to_dict()
    assert [effect["metric"] for effect in told["effects"]] == ["safe"]
    assert told["screen"] is None
    for text in (peek.summary(), peek.to_markdown(), peek.to_html()):
        # What was declared is known to everybody; nothing that was measured is.
        shown, _, _ = text.partition("What was declared before launch")
        assert "won" not in shown.replace(design.hypothesis, "")
    assert told["so_far"] == told["segments"] == told["cautions"] == []
    assert replace(peek.findings, effects=()).primary == ()


def test_a_table_that_changed_behind_its_verdict_is_not_passed_off_as_it(tmp_path):
    """The registered read-out of a table can be repeated as long as the table is the same; else it says so."""
    text = TEXT.replace("MORE", "").replace("[0.3, 0.6, 1.0]", "[1.0]")
    text += "source: {table: t.csv, unit: u, variant: arm, columns: {outcome.won: won, outcome.safe: safe}}\n"
    (tmp_path / "looks.yaml").write_text(text, encoding="utf-8")

    def fill(lift: int) -> None:
        rows = [
            f"u{n},{('control', 'b')[n % 2]},{int(n // 2 * 7 % 10 < 5 + lift * (n % 2))},1"
            for n in range(2000)
        ]
        (tmp_path / "t.csv").write_text("u,arm,won,safe\n" + "\n".join(rows) + "\n", encoding="utf-8")

    design = load_experiment(tmp_path / "looks.yaml")
    log = registered(design)
    fill(2)
    first = look(log, "looks", folder=str(tmp_path))
    assert first.verdict.word == "ship"
    assert look(log, "looks", folder=str(tmp_path)) == first
    fill(0)
    with pytest.raises(RecordError) as refused:
        look(log, "looks", folder=str(tmp_path))
    assert str(refused.value) == (
        f"t.csv is not what it was when {design.identity} was decided (verdict: ship); the verdict stands and cannot be "
        "computed again from this table. Bring the table back, or analyse the new one as an experiment of its own"
    )
    assert kinds(log) == ["look", "decision"]
