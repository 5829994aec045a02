"""The rule that decides, line by line, on findings written by hand; and the screen, which only screens."""

from __future__ import annotations

from dataclasses import replace

import pytest
from finding import FINAL, LOOK, PEEK, WELL, found, guard, primary

from equipoise.analysis.findings import Check, Effect
from equipoise.verdict.analysis import Analysis
from equipoise.verdict.deciding import EXIT_CODES, decide
from equipoise.verdict.screen import ObservedChange, screen


def judged(*effects: Effect, **found_otherwise):
    findings = found(*effects, **found_otherwise)
    verdict = decide(findings)
    # Whatever is decided can be read everywhere.
    shown = Analysis(findings=findings, verdict=verdict)
    assert verdict.because in shown.summary()
    assert shown.to_dict()["verdict"] == verdict.word
    assert verdict.exit_code == EXIT_CODES[verdict.word]
    return verdict


def said(verdict) -> tuple[str, str | None, str]:
    return verdict.word, verdict.arm, verdict.because


def test_what_is_not_healthy_is_invalid_whatever_it_shows():
    """Health comes first: the loudest effect and a breached guardrail do not matter on data that are broken."""
    broken = Check("sample ratio", "invalid", "the units do not follow the declared allocation", 1e-9)
    second = Check("units in two variants", "invalid", "5% of the units were seen in two")
    verdict = judged(primary(9.0), guard("breached"), look=FINAL, health=(WELL, broken, second))
    assert said(verdict) == ("invalid", None, "sample ratio: the units do not follow the declared allocation")
    assert verdict.evidence == ("units in two variants: 5% of the units were seen in two",)
    assert judged(primary(9.0), health=(Check("missing resolved", "note", "a note"),)).word == "ship"


def test_a_breach_rolls_back_even_at_a_peek():
    """Harm is not waited for: a breached guardrail ends it at once, with its own sentence."""
    for look in (PEEK, LOOK, FINAL):
        verdict = judged(primary(5.0), guard("breached"), look=look)
        assert said(verdict) == ("roll back", None, "safety is breached in b: it is worse")
    assert judged(
        guard("breached", segment="tier=gold"), look=PEEK
    ).because == "resolved in tier=gold is breached in b: it is worse".replace("resolved", "safety")


def test_a_peek_decides_nothing_else():
    """Between looks the answer is to keep running, with every guardrail held, open or absent."""
    for guards in ((), (guard("held"),), (guard("not shown"),)):
        verdict = judged(*guards, look=PEEK)
        assert (verdict.word, verdict.because) == ("keep running", PEEK.says)
        assert verdict.would_change == "the next registered look"


def test_a_primary_without_an_estimate_is_invalid():
    """A constant outcome is no proof of no effect."""
    verdict = judged(primary(0.0, because="the outcome is constant in both arms"), guard("held"))
    assert said(verdict) == (
        "invalid",
        None,
        "the primary, resolved, cannot be estimated: the outcome is constant in both arms",
    )


@pytest.mark.parametrize("look", [LOOK, FINAL], ids=["interim", "final"])
def test_an_improvement_with_every_guardrail_held_ships(look):
    """Ship names the arm; it does not speak of guardrails where there are none."""
    assert said(judged(primary(3.0), guard("held"), guard("held", segment="tier=gold"), look=look)) == (
        "ship",
        "b",
        "resolved improved beyond its boundary in b, and every guardrail is held",
    )
    assert judged(primary(3.0), look=look).because == "resolved improved beyond its boundary in b"
    assert judged(primary(-3.0, better="lower"), look=look).word == "ship"


def test_an_improvement_with_a_guardrail_in_doubt_waits_and_then_holds():
    """Not shown is not held: before the last look it runs on, at the last it is not shipped."""
    assert said(judged(primary(3.0), guard("held"), guard("not shown", metric="latency"))) == (
        "keep running",
        None,
        "resolved improved beyond its boundary, and latency is still in doubt",
    )
    assert said(judged(primary(3.0), guard("not shown", metric="latency"), look=FINAL)) == (
        "hold",
        None,
        "resolved improved, but it is not shown that latency stayed within the margin",
    )


def test_a_change_for_the_worse_holds_at_once():
    """The boundary against is as good a reason to stop as the one for."""
    for look in (LOOK, FINAL):
        verdict = judged(primary(-3.0), guard("held"), look=look)
        assert said(verdict) == ("hold", None, "resolved got worse beyond its boundary in b")


def test_nothing_shown_runs_on_until_the_last_look():
    """And the last look says that absence of proof is no proof of absence."""
    assert said(judged(primary(1.0), guard("held"))) == (
        "keep running",
        None,
        "resolved has not crossed its boundary at this look",
    )
    assert said(judged(primary(1.0), guard("held"), look=FINAL)) == (
        "hold",
        None,
        "the last look did not show that resolved improved; that is no proof that it did not",
    )


def test_the_boundary_itself_counts_as_crossed():
    """z at the boundary is beyond it; a hair less is not."""
    at = primary(2.0)
    level = 1.0 - LOOK.level
    for p, word in ((level, "ship"), (level * (1 + 1e-9), "keep running")):
        assert judged(replace(at, estimate=replace(at.estimate, p_value=p))).word == word


def test_one_arm_breached_does_not_stop_the_others():
    """A breached arm is never shipped; the next best one whose guardrails are held is."""
    verdict = judged(primary(6.0, "a"), primary(3.0, "b"), guard("breached", "a"), guard("held", "b"))
    assert (verdict.word, verdict.arm) == ("ship", "b")
    verdict = judged(primary(6.0, "a"), primary(3.0, "b"), guard("held", "a"), guard("held", "b"))
    assert (verdict.word, verdict.arm) == ("ship", "a")
    verdict = judged(primary(6.0, "a"), primary(3.0, "b"), guard("not shown", "a"), guard("held", "b"))
    assert (verdict.word, verdict.arm) == ("ship", "b")


def test_all_arms_breached_rolls_back():
    """Only when no arm is left without a breach is everything rolled back."""
    verdict = judged(primary(6.0, "a"), primary(3.0, "b"), guard("breached", "a"), guard("breached", "b"))
    assert said(verdict) == ("roll back", None, "safety is breached in a: it is worse")


def test_an_improvement_spoiled_by_a_breach_is_called_that():
    """It would be untrue to say that the primary did not improve, when its guardrail is what broke."""
    arms = (primary(6.0, "a"), primary(1.0, "b"), guard("breached", "a"), guard("held", "b"))
    assert said(judged(*arms)) == (
        "keep running",
        None,
        "resolved improved beyond its boundary in a, but safety is breached there; no other arm has crossed yet",
    )
    assert said(judged(*arms, look=FINAL)) == (
        "hold",
        None,
        "resolved improved in a, but safety is breached there",
    )


def test_one_arm_worse_among_several_holds_only_at_the_end():
    """While another arm may still win, one that lost does not stop the experiment; in the end it is named."""
    arms = (primary(-4.0, "a"), primary(1.0, "b"))
    assert judged(*arms).word == "keep running"
    assert said(judged(*arms, look=FINAL)) == ("hold", None, "resolved got worse beyond its boundary in a")
    assert (
        judged(primary(-4.0, "a"), primary(-4.0, "b")).because
        == "resolved got worse beyond its boundary in a, b"
    )


POLICY = (
    ObservedChange("resolution_rate", +0.032, "higher"),
    ObservedChange("safety_rate", -0.001, "higher", limit=-0.0005),
    ObservedChange("latency_p95", +0.410, "lower", limit=0.300),
    ObservedChange("cost_per_session", +0.018, "lower", limit=0.010),
)
NOTE = "This is a screen on observed changes alone: it knows no uncertainty. The verdict tests the margins."


def test_the_promotion_policy_holds_and_says_that_it_is_a_screen():
    """+3.2 points of resolution do not buy three broken limits."""
    result = screen(POLICY)
    assert (result.word, result.failing) == ("hold", ("safety_rate", "latency_p95", "cost_per_session"))
    assert (
        result.says == f"Observed changes fail the screen: safety_rate, latency_p95, cost_per_session. {NOTE}"
    )


def test_the_screen_promotes_what_keeps_within_every_limit():
    """A change exactly at its limit is within it; no improvement at all is none."""
    kept = (POLICY[0], *(replace(each, change=each.limit) for each in POLICY[1:]))
    assert screen(kept).word == "promote"
    assert screen(kept).says == f"Observed changes pass the screen. {NOTE}"
    assert screen((replace(POLICY[0], change=0.0),)).failing == ("resolution_rate",)


def test_the_screen_is_not_shown_where_effects_are_withheld():
    """A peek gives no screen: it would be the look by another name."""
    findings = found(guard("held"), look=PEEK)
    assert Analysis(findings=findings, verdict=decide(findings)).screen is None
