"""Every metric can be watched: what a definition says under `watches` is counted, judged and alerts."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from watched import START, exposure, recorded, turn, watched

from equipoise.events.facts import Outcome, Score
from equipoise.experiment.catalogue import CATALOGUE
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.guardrails.watching import Standing, Watching

GROWTH = {"kind": "mean", "of": "turn.output_tokens", "better": "lower", "tier": "code"}
MOOD = {"kind": "mean", "of": "score.sentiment", "better": "higher", "tier": "judge"}
OUTCOMES = ("resolved", "handed_off", "retained", "csat", "thumbs_up", "copied", "regenerated")
BETTER = {str(metric.of): metric.better for metric in CATALOGUE.values()}
SCORES = ("policy_compliance", "hallucinated", "sentiment")


def definition(metric: str, declared: dict, **limit: object):
    """A definition with one watch, of a metric."""
    metrics = {"resolution_rate": {"priority": "primary"}} | {
        metric: {"priority": "primary" if metric == "resolution_rate" else "secondary"} | declared
    }
    return read_canonical(
        {
            "name": "bot",
            "hypothesis": "Another model does no harm.",
            "unit": "conversation",
            "changes": ["model"],
            "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
            "metrics": metrics,
            "watches": [{"metric": metric, "window": "5m", "for": 1, "then": "rollback"} | limit],
        }
    )


def happened(experiment, unit: str, arm: str, *, bad: bool):
    """A unit to which everything that is measured happened, well or badly."""
    size = 3.0 if bad else 1.0
    yield exposure(experiment, unit, arm, START + 1.0)
    yield turn(
        unit, arm, START + 2.0, latency_s=size, ttft_s=size, tpot_s=size, itl_s=size, cost_usd=size * size,
        input_tokens=int(100 * size), output_tokens=int(10 * size), tool_calls=int(size), retrieved_tokens=int(size),
        error=False, empty=bad, safe=not bad, json_valid=not bad, checks={"pii": "failed" if bad else "passed"},
    )  # fmt: skip
    yield turn(unit, arm, START + 3.0, error=bad)
    for name in OUTCOMES:
        good = BETTER.get(f"outcome.{name}", "higher") == "higher"
        yield Outcome(
            experiment="bot", happened=START + 4.0, unit=unit, name=name, value=1.0 if good != bad else 0.0
        )
    yield Outcome(experiment="bot", happened=START + 5.0, unit=unit, name="resolved", value=1.0)
    for name in SCORES:
        good = BETTER.get(f"score.{name}", "higher") == "higher"
        yield Score(
            experiment="bot", happened=START + 4.0, unit=unit, name=name, evaluator="j",
            value=1.0 if good != bad else 0.0,
        )  # fmt: skip


METRICS = {name: {} for name in CATALOGUE} | {"growth": GROWTH, "sentiment": MOOD}


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_can_be_watched_beside_control(metric):
    """An arm that is worse is rolled back in its first window, and one that is as control is left alone."""
    declared = METRICS[metric]
    lower = (declared.get("better") or CATALOGUE[metric].better) == "lower"
    limit = {"max": "control+10%"} if lower else {"min": "control-10%"}
    experiment = definition(metric, declared, **limit)
    for bad in (True, False):
        facts = [
            *happened(experiment, "u", "control", bad=False),
            *happened(experiment, "v", "treatment", bad=bad),
        ]
        folded = Watching(experiment).fold(Standing(), {}, recorded(facts), {}, now=START + 311.0)
        assert [each.breach.action for each in folded.decided] == (["rollback"] if bad else [])
        (last,) = {streak.last.verdict for streak in folded.standing.streaks.values() if streak.last}
        assert last == ("breached" if bad else "clear")


def test_a_check_that_was_skipped_is_no_reading():
    """Nothing is known of an answer that was not looked at, and a window of such answers is no pass."""
    experiment = definition("pii_rate", {}, max=0.0)
    facts = [exposure(experiment, "u", "treatment", START + 1.0)]
    facts += [turn("u", "treatment", START + 2.0, checks=each) for each in (None, {}, {"pii": "skipped"})]
    folded = Watching(experiment).fold(Standing(), {}, recorded(facts), {}, now=START + 311.0)
    last = folded.standing.streaks[0, "treatment"].last
    assert last is not None
    assert (last.verdict, last.reason) == ("unknown", "there are no readings of turn.pii in the window")


def test_what_the_guide_watches_can_be_watched():
    """Every watch of the monitor's guide is of a metric that is built in or declared beside it, and is followed."""
    guide = (Path(__file__).parents[2] / "docs" / "monitor.md").read_text(encoding="utf-8")
    (said,) = [each for each in guide.split("```yaml\n")[1:] if each.startswith("metrics:")]
    told = yaml.safe_load(said.split("```")[0])
    named = {watch["metric"]: {"priority": "exploratory"} for watch in told["watches"]}
    metrics = {"resolution_rate": {"priority": "primary"}} | named | told["metrics"]
    experiment = watched(told["watches"], metrics=metrics)
    facts = [
        *happened(experiment, "u", "control", bad=False),
        *happened(experiment, "v", "treatment", bad=True),
    ]
    folded = Watching(experiment).fold(Standing(), {}, recorded(facts), {}, now=START + 3611.0)
    # The others ask for more readings than there are, which is no pass either.
    assert {each.watch for each in folded.decided if each.arm == "treatment"} == {2, 3, 4}
