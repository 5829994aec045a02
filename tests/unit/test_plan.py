"""The plan that is written down before launch: what each question needs, which one binds, how long it takes."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import forked
import numpy as np
import pytest
from scipy.stats import binom, poisson

from equipoise import load_experiment, plan
from equipoise.design.plan import MetricSize
from equipoise.errors import UsageError
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.looks.sequential import crossing_probabilities
from equipoise.stats.sizes.power import size_two_proportions
from equipoise.stats.sizes.power_margins import size_noninferior_proportions

COMMAND = Path(sys.executable).with_name("equipoise")
TEXT = """
name: support-policy-prompt
hypothesis: Citing the policy raises resolution without hurting latency, safety or cost.
changes: [system]
unit: {type: conversation, from: header:x-conversation-id}
variants:
  control:   {model: m, system: "Be helpful."}
  treatment: {model: m, system: "Cite the policy."}MORE
ALLOCATION
metrics:
  resolution_rate:  {priority: primary,   kind: proportion, of: outcome.resolved, better: higher, baseline: 0.60, mde: 0.05}
  policy_score:     {priority: secondary, kind: mean, of: score.policy_citation, better: higher}
  latency_p95:      {priority: guardrail, kind: quantile, q: 0.95, of: turn.latency_s, better: lower, margin: 0.5, limit: 3.0}
  cost_per_success: {priority: guardrail, kind: ratio, of: turn.cost_usd, per: outcome.resolved, better: lower, margin: 10%}
  safety_rate:      {priority: guardrail, kind: proportion, of: turn.safe, per_unit: all, better: higher, margin: 1pp, baseline: 0.995}
  error_rate:       {priority: guardrail, kind: proportion, of: turn.error, per_unit: any, better: lower, margin: 1pp, baseline: 0.01}
plan: {alpha: 0.05, power: 0.8, looks: [0.25, 0.5, 0.75, 1.0], spending: obrien_fleming, burn_in: 1d, cycle: 7d}
"""


def drawn(folder: Path, *changes: tuple[str, str], more: str = "", allocation: str = "", **settings):
    text = TEXT.replace("MORE", more).replace("ALLOCATION", allocation)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "experiment.yaml"
    path.write_text(text, encoding="utf-8")
    return plan(load_experiment(path), **settings)


def test_each_metric_gets_the_size_of_its_own_question(tmp_path):
    """1,471 per arm for the primary; each guardrail the size that excludes its margin; the largest binds."""
    made = drawn(tmp_path)
    primary = made.sizes["resolution_rate"]
    assert dict(primary.units) == {"control": 1471, "treatment": 1471}
    assert (primary.question, primary.effect, primary.total) == ("detect", 0.05, 2942)
    for name, baseline, better in (("safety_rate", 0.995, "higher"), ("error_rate", 0.01, "lower")):
        expected = size_noninferior_proportions(baseline, 0.01, alpha=0.025, power=0.8, better=better)
        assert made.sizes[name].units == {"control": expected.control, "treatment": expected.treatment}
        assert made.sizes[name].question == "exclude"
    assert made.binding == "error_rate"
    assert made.sizes["error_rate"].total > primary.total > made.sizes["safety_rate"].total
    # What has neither an effect nor a margin asks for nothing.
    assert "policy_score" not in made.sizes


def test_looks_have_boundaries_that_spend_alpha_and_units_that_grow(tmp_path):
    """The looks cost two per cent; their boundaries spend exactly 0.05; units follow the fractions."""
    made = drawn(tmp_path)
    assert made.total == math.ceil(made.sizes["error_rate"].total * made.inflation)
    assert 1.0 < made.inflation < 1.03
    assert [look.fraction for look in made.looks] == [0.25, 0.5, 0.75, 1.0]
    assert [look.units for look in made.looks] == [
        math.ceil(made.total * f - 1e-6) for f in (0.25, 0.5, 0.75, 1.0)
    ]
    spent = crossing_probabilities([0.25, 0.5, 0.75, 1.0], [look.boundary for look in made.looks])
    assert spent.total == pytest.approx(0.05, abs=1e-7) == made.looks[-1].spent
    running = 0.0
    for look, up, down in zip(made.looks, spent.upper, spent.lower, strict=True):
        running += up + down
        assert look.spent == pytest.approx(running, abs=1e-7)
    assert made.total * 0.7 < made.expected < made.total


def test_one_look_costs_nothing(tmp_path):
    """A design with a single look needs exactly the binding size."""
    made = drawn(tmp_path, ("looks: [0.25, 0.5, 0.75, 1.0]", "looks: [1.0]"))
    assert (made.inflation, made.total, made.expected) == (1.0, made.sizes["error_rate"].total, made.total)
    assert made.looks[0].boundary == pytest.approx(1.959964, abs=1e-6)


def test_the_registered_information_is_what_the_binding_size_holds(tmp_path):
    """At the planned number of units the information is reached: 1/SE² there is the registered maximum, nearly."""
    for made in (
        drawn(tmp_path),
        drawn(tmp_path, ("margin: 1pp, baseline: 0.01", "margin: 5pp, baseline: 0.01")),
    ):
        per_arm = made.total / 2
        variance = 0.6 * 0.4 / per_arm + 0.65 * 0.35 / per_arm
        assert 1 / variance == pytest.approx(made.information, rel=0.02)


def test_the_duration_is_rounded_up_to_whole_cycles(tmp_path):
    """Burn-in and enrolment, then up to the next whole week; never down; without a cycle to the day's fraction."""
    made = drawn(tmp_path, units_per_day=600)
    assert made.days == 14 == 7 * math.ceil((1 + made.total / 600) / 7)
    exactly = drawn(tmp_path, units_per_day=made.total / 6)
    assert exactly.days == 7
    assert drawn(tmp_path, units_per_day=made.total / 6.001).days == 14
    plain = drawn(tmp_path, ("cycle: 7d", "cycle: 0s"), units_per_day=600)
    assert plain.days == pytest.approx(1 + made.total / 600)
    assert drawn(tmp_path, ("cycle: 7d", "cycle: 7d, units_per_day: 600")).days == 14
    assert drawn(tmp_path).days == NotEstimable(
        "no traffic is given; say `units_per_day` in the plan, or --units-per-day"
    )


@pytest.mark.parametrize(("traffic", "said"), [(0, "0"), (-5, "-5"), (math.nan, "nan"), (math.inf, "inf")])
def test_traffic_must_be_a_number_above_zero(tmp_path, traffic, said):
    """Nothing, less than nothing and no number are refused with a sentence."""
    with pytest.raises(UsageError) as refused:
        drawn(tmp_path, units_per_day=traffic)
    assert str(refused.value) == f"units per day must be a number above 0, and this is {said}"


def test_several_arms_share_alpha_and_the_shares_hold(tmp_path):
    """With three treatments each is tested at alpha/3, guardrails at the whole; sizes keep to the allocation."""
    made = drawn(
        tmp_path,
        more="\n  b: {model: m, system: B}\n  c: {model: m, system: C}",
        allocation="allocation: {control: 2/5, treatment: 1/5, b: 1/5, c: 1/5}",
    )
    shares = {"control": 2 / 5, "b": 1 / 5, "c": 1 / 5, "treatment": 1 / 5}
    for name, pair in {
        "resolution_rate": size_two_proportions(0.6, 0.05, alpha=0.05 / 3, power=0.8, ratio=0.5),
        "error_rate": size_noninferior_proportions(
            0.01, 0.01, alpha=0.025, power=0.8, ratio=0.5, better="lower"
        ),
    }.items():
        size = made.sizes[name]
        assert size.total == sum(size.units.values())
        for arm, share in shares.items():
            assert size.units[arm] == pytest.approx(size.total * share, abs=1.5)
        assert pair.control <= size.units["control"] <= pair.control + 2
        assert pair.treatment <= size.units["b"] <= pair.treatment + 2
    assert made.looks[-1].spent == pytest.approx(0.05 / 3)


def test_unequal_shares_of_two_arms_cost_more(tmp_path):
    """One to nine needs far more units than half and half, nine in control for each in treatment."""
    made = drawn(tmp_path, allocation="allocation: {control: 9/10, treatment: 1/10}")
    size = made.sizes["resolution_rate"]
    assert size.total > 2 * 2942
    assert size.units["control"] == pytest.approx(9 * size.units["treatment"], abs=9)


def test_what_cannot_be_sized_says_why(tmp_path):
    """No size is ever a guess: each reason names the key that is missing."""
    made = drawn(tmp_path)
    for name, kind in (("latency_p95", "quantile"), ("cost_per_success", "ratio")):
        assert isinstance(made.sizes[name], NotEstimable)
        assert kind in made.sizes[name].reason
    assert any("cost_per_success, latency_p95 could not be sized" in note for note in made.notes)
    for old, new, reason in (
        (", baseline: 0.60, mde: 0.05", ", baseline: 0.60", "resolution_rate has no `mde`"),
        (", baseline: 0.60, mde: 0.05", ", mde: 0.05", "resolution_rate needs a `baseline` rate to size for"),
        (
            ", baseline: 0.60, mde: 0.05",
            ", mde: 5%",
            "resolution_rate has a relative `mde` and no `baseline` to take it of",
        ),
    ):
        made = drawn(tmp_path, (old, new))
        assert made.sizes["resolution_rate"] == NotEstimable(reason)
        assert made.information == NotEstimable(reason)
        assert made.power_curve == ()
        assert json.loads(json.dumps(made.to_dict(), allow_nan=False))["information"] == {
            "not_estimable": reason
        }


def test_nothing_to_size_by_gives_no_numbers(tmp_path):
    """Without a single effect or margin that can be sized there is no total, no unit count and no duration."""
    text = "name: n\nhypothesis: h\nunit: user\nvariants: {control: {}, b: {}}\nmetrics: {x: {priority: primary, kind: mean, of: outcome.x, better: higher}}\n"
    path = tmp_path / "n.yaml"
    path.write_text(text, encoding="utf-8")
    made = plan(load_experiment(path), units_per_day=10)
    assert made.sizes["x"] == NotEstimable("x has no `mde`")
    assert (made.total, made.expected, made.binding, made.looks[0].units) == (None, None, None, None)
    assert made.days == NotEstimable("no metric could be sized")


def test_a_lower_rate_that_is_better_is_sized_downwards(tmp_path):
    """From 0.60 down to 0.55 is the question where lower is better."""
    made = drawn(
        tmp_path,
        ("resolution_rate: ", "handed_off: "),
        ("of: outcome.resolved, better: higher", "of: outcome.gone, better: lower"),
    )
    assert made.sizes["handed_off"].units["control"] == size_two_proportions(0.60, -0.05).control


def test_the_power_curve_grows_through_the_planned_power(tmp_path):
    """At the planned effect the power is at least the plan's (the binding guardrail adds units); it only grows."""
    made = drawn(tmp_path)
    powers = [power for _, power in made.power_curve]
    assert powers == sorted(powers)
    at = dict(made.power_curve)
    assert at[0.05] >= 0.8
    assert all(isinstance(size, MetricSize | NotEstimable) for size in made.sizes.values())


# --- equipoise size, as people type it ---


def size(*arguments: str) -> subprocess.CompletedProcess[str]:
    return forked.run([COMMAND, "size", *arguments])


@pytest.mark.parametrize(("mde", "per_variant", "total"), [("0.05", 1471, 2942), ("2pp", 9336, 18672)])
def test_size_answers_in_json(mde, per_variant, total):
    """0.60 → 0.65 needs 2,942 in all, 0.60 → 0.62 needs 18,672; the keys can be relied on."""
    done = size("proportion", "--baseline", "0.60", "--mde", mde, "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert {"kind", "per_variant", "total", "alpha", "power"} <= set(told)
    assert (told["kind"], told["per_variant"], told["total"]) == ("proportion", per_variant, total)
    assert (told["alpha"], told["power"]) == (0.05, 0.8)


def test_size_answers_a_person():
    """One line, with what it was computed for."""
    done = size("proportion", "--baseline", "0.60", "--mde", "0.05")
    assert done.stdout == "1,471 units per variant, 2,942 in all (alpha 0.05, two-sided; power 0.8)\n"
    assert done.stderr == ""


REFUSED = {
    ("--baseline", "1.2"): "baseline must lie strictly between 0 and 1, not 1.2",
    ("--baseline", "0"): "baseline must lie strictly between 0 and 1, not 0.0",
    ("--baseline", "nan"): "baseline must lie strictly between 0 and 1, not nan",
    ("--mde", "0"): "mde must not be 0: no number of units finds an effect that is not there",
    ("--mde", "0.5"): "baseline + mde must lie strictly between 0 and 1, not 1.1",
    ("--mde", "inf"): "--mde inf cannot be read; accepted: a number, '5pp' or '8%'",
    ("--mde", "much"): "--mde much cannot be read; accepted: a number, '5pp' or '8%'",
    ("--alpha", "0"): "alpha must lie strictly between 0 and 1, not 0.0",
    ("--alpha", "inf"): "alpha must lie strictly between 0 and 1, not inf",
    ("--power", "1"): "power must lie strictly between 0 and 1, not 1.0",
    ("--ratio", "-1"): "ratio must be a finite number greater than 0, not -1.0",
}


@pytest.mark.parametrize("option", REFUSED, ids="=".join)
def test_size_refuses_with_a_sentence(option, capsys, monkeypatch):
    """Rates, effects, levels and ratios that are none: exit code 2, one sentence on stderr, nothing on stdout."""
    from equipoise.cli.main import run

    given = {"--baseline": "0.6", "--mde": "0.05"} | dict([option])
    monkeypatch.setattr(
        sys, "argv", ["equipoise", "size", "proportion", *(word for pair in given.items() for word in pair)]
    )
    with pytest.raises(SystemExit) as left:
        run()
    said = capsys.readouterr()
    assert (left.value.code, said.out, said.err) == (2, "", f"error: {REFUSED[option]}\n")


def test_a_word_where_a_number_is_wanted_is_refused():
    """typer's own refusal has our exit code, and with --json our shape."""
    done = size("proportion", "--baseline", "most", "--mde", "0.05", "--json")
    told = json.loads(done.stderr)
    assert (done.returncode, done.stdout) == (2, "")
    assert set(told) == {"error", "message", "faults"}
    assert "--baseline" in told["message"]


WATCHES = """watches:
  - {metric: error_rate, max: 0.01, window: 5m, for: 2, then: rollback}
  - {metric: error_rate, max: 0.05, window: 5m, for: 2, then: pause}
  - {metric: error_rate, max: control+5pp, window: 5m, then: alert}
  - {metric: safety_rate, min: 0.9, window: 5m, at_least: 2000, then: rollback}
  - {metric: latency_p95, max: control+20%, window: 5m, for: 2, then: pause}
"""


def test_a_plan_says_how_often_each_watch_acts_for_nothing(tmp_path):
    """A limit at the true rate, of 1,000 turns a window, acts hundreds of times a week; a wide one hardly ever."""
    made = drawn(tmp_path, ("plan:", WATCHES + "plan:"), turns_per_day=2 * 1_000 * 288)
    near, wide, beside, small, latency = made.watches
    # More than one in a hundred of about a thousand: p; two in a row that none preceded, in both arms' 2,016 windows.
    turns = np.arange(800, 1_200)
    p = float(poisson.pmf(turns, 1_000) @ binom.sf(turns // 100, turns, 0.01))
    assert near.actions == pytest.approx(2 * 2016 * (1 - p) * p**2, rel=0.02)
    assert near.alarms == pytest.approx(2 * 2016 * (1 - p) * p, rel=0.02)
    assert wide.actions < 1e-20
    assert 0.0 < beside.alarms == beside.actions < 1e-6
    assert small == NotEstimable(
        "safety_rate: a window of control has about 1,000 turns, and 2,000 are asked for"
    )
    assert latency == NotEstimable(
        "latency_p95: how a quantile of turn.latency_s varies is not in the definition; `equipoise baseline` takes it "
        "from past windows"
    )
    assert [each.too_often for each in (near, wide, beside)] == [True, False, False]
    (said,) = [note for note in made.notes if "for nothing" in note]
    assert said == (
        f"the watch of error_rate would roll back {near.actions:.3g} times a week for nothing, and more than once a year is "
        "too often. A wider limit, a longer window or more windows in a row (`for`) make it rarer; `equipoise baseline` "
        "finds a limit"
    )
    assert near.breached == pytest.approx(p, rel=0.01)
    assert made.to_dict()["watches"][0] == {
        "watch": 0, "metric": "error_rate", "action": "rollback", "breached": near.breached, "alarms_per_week": near.alarms,
        "actions_per_week": near.actions, "too_often": True,
        "says": "{metric: error_rate, max: 0.01, window: 5m, for: 2, then: rollback}",
    }  # fmt: skip


def test_a_plan_knows_what_windows_that_overlap_share(tmp_path):
    """Most of what breaches one breaches the next: alarms and actions are those of a long series of such minutes."""
    watch = "watches: [{metric: error_rate, max: 0.013, window: 5m, every: 1m, for: 2, then: pause}]\n"
    made = drawn(tmp_path, ("plan:", watch + "plan:"), turns_per_day=2 * 1_000 * 288)
    (sliding,) = made.watches
    rng, minutes = np.random.default_rng(4), 3_000_000
    turns = rng.poisson(200.0, size=minutes)
    within, failed = (np.convolve(each, np.ones(5), "valid") for each in (turns, rng.binomial(turns, 0.01)))
    breached = failed / within > 0.013
    begun = breached[1:-1] & ~breached[:-2]
    week = 2 * 10_080
    assert sliding.breached == pytest.approx(breached.mean(), rel=0.05)
    assert sliding.alarms == pytest.approx(week * begun.mean(), rel=0.1)
    assert sliding.actions == pytest.approx(week * (begun & breached[2:]).mean(), rel=0.1)


def test_a_plan_warns_of_a_limit_that_is_always_passed(tmp_path):
    """One streak that never ends acts once, and then never again; that is no quiet watch."""
    watch = "watches: [{metric: error_rate, max: 0.0005, window: 5m, for: 2, then: alert}]\n"
    made = drawn(tmp_path, ("plan:", watch + "plan:"), turns_per_day=2 * 1_000 * 288)
    assert made.watches[0].actions < 0.5
    assert made.watches[0].too_often
    (said,) = [note for note in made.notes if "nothing" in note]
    assert said == (
        "the watch of error_rate would find 100% of windows breached where nothing is wrong. A wider limit, a longer window "
        "or more windows in a row (`for`) make it rarer; `equipoise baseline` finds a limit"
    )


def test_without_traffic_a_plan_says_what_is_missing_of_a_watch(tmp_path):
    """And a plan without watches is written as ever."""
    made = drawn(tmp_path, ("plan:", WATCHES + "plan:"))
    assert made.watches[0] == NotEstimable("error_rate: no traffic is given; say --turns-per-day")
    assert "watches" not in drawn(tmp_path).to_dict()
    with pytest.raises(UsageError) as refused:
        drawn(tmp_path, turns_per_day=0)
    assert str(refused.value) == "turns per day must be a number above 0, and this is 0"
