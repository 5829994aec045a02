"""What holds of every verdict rule that the reader accepts, and of every one it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from finding import FINAL, LOOK, PEEK, WELL, found, guard, primary
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from equipoise.analysis.findings import Check, Findings
from equipoise.errors import Fault
from equipoise.experiment.document import Document
from equipoise.experiment.form import Form
from equipoise.experiment.verdict_checks import rule, verdict_faults
from equipoise.experiment.verdict_rule import USUAL, Branch
from equipoise.verdict.conditions import met
from equipoise.verdict.deciding import decide

BROKEN = Check("sample ratio", "invalid", "the units do not follow the declared allocation", 1e-9)
GUARDS = ("safety", "cost")
LINES = st.fixed_dictionaries(
    {
        "when": st.fixed_dictionaries({}, optional={
            "health": st.just("invalid"),
            "look": st.sampled_from(["peek", "interim", "last"]),
            "primary": st.sampled_from(["better", "worse", "non_inferior", "futile", "not_estimable"]),
            "guardrails": st.sampled_from(["held", "held", "breached", "not_breached"]),
            "safety": st.sampled_from(["held", "breached", "not_breached", "not_shown"]),
        }),
        "then": st.sampled_from(["ship", "hold", "roll back", "keep running", "invalid"]),
    },
    optional={"arms": st.sampled_from(["every", "any"]), "because": st.just("so it was agreed")},
)  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The usual table, some lines of it left out and others put in: about one in three is accepted."""
    table = [line.to_dict() for line in USUAL]
    for _ in range(draw(st.integers(0, 2))):
        table.pop(draw(st.integers(0, len(table) - 1)))
    for _ in range(draw(st.integers(0, 4))):
        line = draw(LINES)
        if line["then"] == "ship":
            line.pop("arms", None)
        table.insert(draw(st.integers(0, len(table))), line)
    return table


def form(table: list[dict[str, Any]], treatments: int) -> Form:
    measured = {"kind": "mean", "of": "turn.x", "better": "higher", "margin": 0.02, "mde": 0.05}
    return Form.model_validate(
        {
            "name": "e",
            "hypothesis": "h",
            "unit": "user",
            "variants": {name: {} for name in ["control", "b", "c"][: treatments + 1]},
            "metrics": {"resolved": measured | {"priority": "primary"}}
            | {name: measured | {"priority": "guardrail"} for name in GUARDS},
            "verdict": table,
        }
    )


def faults(read: Form) -> list[tuple[tuple[str | int, ...], Fault]]:
    return list(verdict_faults(read, Document({}, "e.yaml")))


@st.composite
def findings(draw: st.DrawFn, treatments: int) -> Findings:
    """Anything that a record may show of so many treatments."""
    look = draw(st.sampled_from([PEEK, LOOK, FINAL]))
    healthy = draw(st.integers(0, 3)) > 0
    effects = []
    for arm in ["b", "c"][:treatments]:
        lacking = draw(st.sampled_from([None, None, None, "no unit has a value"]))
        z = draw(st.sampled_from([-4.0, -2.0, -1.0, 0.5, 2.0, 4.0]))
        if look.due:
            effects.append(primary(z, arm, because=lacking, margin=0.02, mde=0.05))
        effects += [
            guard(draw(st.sampled_from(["held", "held", "breached", "not shown"])), arm, metric=name)
            for name in GUARDS
        ]
    shown = found(*effects, look=look, health=(WELL,) if healthy else (WELL, BROKEN))
    return shown if healthy else replace(shown, effects=())


often = pytest.mark.parametrize("examples", [150, pytest.param(6_000, marks=pytest.mark.long)])


def anything(law: Callable[[st.DataObject, list[dict[str, Any]], int], None], examples: int) -> None:
    """The law holds of so many rules of one treatment or two, each with a record."""
    checked = settings(max_examples=examples, suppress_health_check=[HealthCheck.filter_too_much])
    checked(given(st.data(), tables(), st.integers(1, 2))(law))()


def safe(data: st.DataObject, table: list[dict[str, Any]], arms: int) -> None:
    read = form(table, arms)
    assume(not faults(read))
    shown = replace(data.draw(findings(arms)), rule=rule(list(read.verdict or ())))
    verdict = decide(shown)
    assert 1 <= verdict.branch <= len(shown.rule)
    assert verdict.word == shown.rule[verdict.branch - 1].then
    assert shown.healthy or verdict.word == "invalid"
    breached = {each.variant for each in shown.guards if each.held == "breached"}
    if verdict.word == "ship":
        assert shown.look.due
        assert verdict.arm not in breached
        (shipped,) = (effect for effect in shown.primary if effect.variant == verdict.arm)
        assert shipped.estimate.low > -0.02  # type: ignore[union-attr]
    else:
        assert verdict.arm is None
    if shown.healthy and not shown.look.due and verdict.word != "keep running":
        assert breached
    if shown.look.final and shown.healthy:
        assert verdict.word != "keep running"


def dead(data: st.DataObject, table: list[dict[str, Any]], arms: int) -> None:
    read = form(table, arms)
    never = {path[1] for path, fault in faults(read) if "never reached" in fault.problem}
    assume(never)
    shown = replace(data.draw(findings(arms)), rule=rule(list(read.verdict or ())))
    first = next((place for place, line in enumerate(shown.rule) if met(line, shown) is not None), None)
    assert first not in never


@often
def test_a_rule_that_is_accepted_is_safe(examples: int) -> None:
    """It never ships what is not healthy, breached or unproven, answers every last look, and stops a peek for harm alone."""
    anything(safe, examples)


@often
def test_a_line_that_is_called_unreachable_never_decides(examples: int) -> None:
    """Whatever is found, an earlier line applies first, or it does not apply."""
    anything(dead, examples)


@given(st.data(), st.integers(1, 2))
def test_a_line_that_names_every_treatment_applies_less_often(data: st.DataObject, arms: int) -> None:
    """What every treatment meets, any meets; of a single treatment both are one."""
    shown = data.draw(findings(arms))
    line = rule(list(form([data.draw(LINES) | {"arms": "every", "then": "hold"}], arms).verdict or ()))[0]
    every, either = met(line, shown), met(Branch(when=line.when, arms="any", then="hold"), shown)
    assert every is None or either == every
    if arms == 1:
        assert every == either
