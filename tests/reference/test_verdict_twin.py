"""The usual verdict rule as a table, against the same rule written out as branches."""

from __future__ import annotations

from dataclasses import replace

import pytest
from finding import FINAL, LOOK, PEEK, WELL, found, guard, primary
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.analysis.findings import Check, Effect, Findings
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.verdict.ahead import until_next_look, until_settled
from equipoise.verdict.deciding import decide

BROKEN = Check("sample ratio", "invalid", "the units do not follow the declared allocation", 1e-9)
SECOND = Check("units in two variants", "invalid", "5% of the units were seen in two")

Said = tuple[str, str | None, str, str | None]


def twin(findings: Findings) -> Said:
    """Word, arm, reason and what would change it, by branches."""
    if not findings.healthy:
        broken = [check for check in findings.health if check.status == "invalid"]
        change = "nothing that is decided on these data; mend the cause and start again"
        return "invalid", None, f"{broken[0].name}: {broken[0].says}", change
    breached = {
        arm: [g for g in findings.guards if g.variant == arm and g.held == "breached"]
        for arm in findings.treatments
    }
    if all(breached.values()):
        worst = next(iter(breached.values()))[0]
        because = f"{worst.name} is breached in {worst.variant}: {worst.because}"
        return "roll back", None, because, "a new revision that keeps within the margin"
    if not findings.look.due:
        return "keep running", None, findings.look.says, until_next_look(findings)
    for effect in findings.primary:
        if isinstance(effect.estimate, NotEstimable):
            because = f"the primary, {effect.metric}, cannot be estimated: {effect.estimate.reason}"
            return "invalid", None, because, "outcomes that vary and reach the record"
    return _judged(findings, breached)


def _judged(findings: Findings, breached: dict[str, list[Effect]]) -> Said:
    metric, final = findings.primary[0].metric, findings.look.final
    side = {effect.variant: _side(effect, findings) for effect in findings.primary}
    better = [e for e in findings.primary if side[e.variant] > 0 and not breached[e.variant]]
    doubtful = []
    for effect in sorted(better, key=_gain, reverse=True):
        unsettled = [g for g in findings.guards if g.variant == effect.variant and g.held != "held"]
        if not unsettled:
            guarded = ", and every guardrail is held" if findings.guards else ""
            return (
                "ship",
                effect.variant,
                f"{metric} improved beyond its boundary in {effect.variant}{guarded}",
                None,
            )
        doubtful += unsettled
    worse = [arm for arm, sign in side.items() if sign < 0]
    spoiled = [g for arm, sign in side.items() if sign > 0 for g in breached[arm]]
    doubt = ", ".join(sorted({g.name for g in doubtful}))
    settling = ", and ".join(dict.fromkeys(until_settled(g, findings) for g in doubtful))
    if final and doubtful:
        because = f"{metric} improved, but it is not shown that {doubt} stayed within the margin"
        return "hold", None, because, f"{settling}; or a margin that was declared wider before launch"
    if final and spoiled:
        because = f"{metric} improved in {spoiled[0].variant}, but {spoiled[0].name} is breached there"
        return "hold", None, because, "a new revision that keeps within the margin"
    if len(worse) == len(side) or (final and worse):
        return "hold", None, f"{metric} got worse beyond its boundary in {', '.join(worse)}", "a new revision"
    if final:
        because = f"the last look did not show that {metric} improved; that is no proof that it did not"
        return "hold", None, because, "a new experiment planned for a smaller effect, or a stronger change"
    if doubtful:
        return (
            "keep running",
            None,
            f"{metric} improved beyond its boundary, and {doubt} is still in doubt",
            settling,
        )
    if spoiled:
        because = (
            f"{metric} improved beyond its boundary in {spoiled[0].variant}, but {spoiled[0].name} is breached "
            "there; no other arm has crossed yet"
        )
        return "keep running", None, because, f"for the other arms, {until_next_look(findings)}"
    return (
        "keep running",
        None,
        f"{metric} has not crossed its boundary at this look",
        until_next_look(findings),
    )


def _gain(effect: Effect) -> float:
    assert isinstance(effect.estimate, Estimate)
    return effect.estimate.value * (1 if effect.better == "higher" else -1)


def _side(effect: Effect, findings: Findings) -> int:
    assert isinstance(effect.estimate, Estimate)
    p = effect.estimate.p_value
    if p is None or p > 1.0 - findings.look.level:
        return 0
    return 1 if _gain(effect) > 0 else -1


@st.composite
def findings(draw: st.DrawFn) -> Findings:
    """Findings of one to three treatments: any health, look, primary and guardrails."""
    arms = ["b", "c", "d"][: draw(st.integers(1, 3))]
    better = draw(st.sampled_from(["higher", "lower"]))
    named = draw(st.lists(st.sampled_from(["safety", "latency", "cost"]), unique=True, max_size=3))
    segment = draw(st.sampled_from([None, "tier=gold"]))
    effects = []
    for arm in arms:
        z = draw(st.sampled_from([-3.0, -2.0, 0.5, 1.0, 2.0, 3.0, 4.0]))
        lacking = draw(st.sampled_from([None, None, None, None, "the outcome is constant in both arms"]))
        each = primary(z, arm, better=better, because=lacking)
        if lacking is None and draw(st.integers(0, 9)) == 0:
            each = replace(each, estimate=replace(each.estimate, p_value=None))
        effects.append(each)
        held = st.sampled_from(["held", "held", "not shown", "breached"])
        effects += [guard(draw(held), arm, metric=name) for name in named]
        effects += [guard(draw(held), arm, metric="resolved", segment=segment)] if segment else []
    look = draw(st.sampled_from([PEEK, LOOK, FINAL]))
    health = draw(st.sampled_from([(WELL,), (WELL,), (WELL,), (WELL, BROKEN), (BROKEN, SECOND)]))
    return found(*draw(st.permutations(effects)), look=look, health=health)


@pytest.mark.parametrize("examples", [500, pytest.param(10_000, marks=pytest.mark.long)])
def test_the_usual_table_is_the_rule_written_out(examples: int) -> None:
    """Word, arm, reason and what would change it are the same to the byte, whatever is found."""

    @settings(max_examples=examples)
    @given(findings())
    def alike(shown: Findings) -> None:
        verdict = decide(shown)
        assert (verdict.word, verdict.arm, verdict.because, verdict.would_change) == twin(shown)

    alike()
