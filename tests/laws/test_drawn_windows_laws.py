"""The quick way by which simulations of watches draw windows is the real one: the same turns, the same decisions."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from stable import START, WATCHED, Drawn, decide, guarded, limits

from equipoise.events.facts import Exposure, Fact, Turn
from equipoise.events.log import Recorded
from equipoise.experiment.definition import Experiment
from equipoise.measurement.guardrails.watching import Standing, Watching

ARMS = ("control", "treatment")


def facts_of(experiment: Experiment, pool: Drawn, drawn: dict[str, np.ndarray]) -> list[Recorded]:
    """The turns of windows that were drawn, as a log gives them back."""
    facts: list[Fact] = [
        Exposure(
            experiment="bot", happened=float(START), unit=arm, variant=arm, digest=experiment.digest,
            unit_type="conversation", probability=0.5, reason="split",
        )
        for arm in ARMS
    ]  # fmt: skip
    for arm in ARMS:
        for window, places in enumerate(drawn[arm].tolist()):
            for number, place in enumerate(places):
                happened = START + 300.0 * window + 290.0 * number / len(places)
                seconds, error = float(pool.seconds[place]), bool(pool.errors[place])
                facts.append(Turn(experiment="bot", happened=happened, unit=arm, variant=arm, reason="split", latency_s=seconds, error=error, cost_usd=0.001 * seconds))  # fmt: skip
    facts.sort(key=lambda fact: fact.happened)
    return [Recorded(position, fact.happened + 0.5, fact) for position, fact in enumerate(facts, 1)]


@given(st.integers(0, 2**32), st.integers(20, 60), st.integers(20, 60), st.integers(1, 8))
@settings(max_examples=60)
def test_what_is_drawn_is_decided_as_facts_are(seed, control, treatment, windows):
    """Every alarm and every action of all watches, in both arms, window by window."""
    rng = np.random.default_rng(seed)
    pool = Drawn(rng.lognormal(1.0, 0.6, 200).tolist(), (rng.random(200) < 0.05).tolist())
    experiment = guarded([{**each, "at_least": 1} for each in WATCHED])
    drawn = {arm: pool.draw(rng, windows, n) for arm, n in zip(ARMS, (control, treatment), strict=True)}
    end = START + 300 * windows
    folded = Watching(experiment).fold(Standing(), {}, facts_of(experiment, pool, drawn), {}, now=end + 10.5)
    real = {(each.watch, each.arm, each.breach.ends, each.breach.sustained) for each in folded.decided}
    quick = set()
    for number, watch in enumerate(experiment.watches):
        values = {arm: pool.values(watch.metric, drawn[arm])[None, :] for arm in ARMS}
        beside = limits(watch, values["control"], experiment.metric(watch.metric).baseline)
        relative = watch.max is not None and watch.max.reference == "control"
        for arm in ARMS[1:] if relative else ARMS:
            alarms, actions = decide(values[arm] > beside, watch.persist)
            for window in range(windows):
                ends = START + 300 * (window + 1)
                if actions[0, window]:
                    quick.add((number, arm, ends, True))
                elif alarms[0, window]:
                    quick.add((number, arm, ends, False))
    assert quick == real
