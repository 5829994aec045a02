"""A canary with too little traffic to keep its model warm says so, where it stands and where it is read."""

from __future__ import annotations

import pytest

from equipoise.analysis.health import check_health
from equipoise.cli.rollout_text import status_lines
from equipoise.conduct.enter import enter
from equipoise.conduct.register import register
from equipoise.conduct.status import status
from equipoise.events.facts import Exposure, Turn
from equipoise.events.log import MemoryLog
from equipoise.experiment.catalogue import CATALOGUE
from equipoise.experiment.metric import OF_TURNS
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.measuring import measure_log

DEFINITION = {
    "name": "bot",
    "hypothesis": "A small share tells enough.",
    "unit": "user",
    "changes": ["model"],
    "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
    "metrics": {"resolution_rate": {"priority": "primary"}},
    "rollout": {"stages": ["canary", "ab"], "canary": {"coverage": "5%"}},
}


def recorded(cold: int, warm: int) -> MemoryLog:
    """A canary whose treatment found its model cold so often; control's was always warm."""
    experiment = read_canonical(DEFINITION)
    log = MemoryLog()
    register(log, experiment, by="test", reason="a test")
    digest = experiment.digest
    facts: list = [
        Exposure(experiment="bot", happened=1.0, digest=digest, unit=arm, unit_type="user",
                 variant=arm, probability=0.5, reason="split")
        for arm in ("control", "treatment")
    ]  # fmt: skip
    base = {"experiment": "bot", "happened": 2.0, "digest": digest, "reason": "split"}
    facts += [Turn(**base, unit="control", variant="control", warm=True, latency_s=0.5) for _ in range(50)]
    arm = base | {"unit": "treatment", "variant": "treatment"}
    facts += [Turn(**arm, warm=False, latency_s=3.0) for _ in range(cold)]
    facts += [Turn(**arm, warm=True, latency_s=0.4) for _ in range(warm)]
    facts += [
        # None of these tells how warm the arm's own model was, or how long it takes.
        Turn(**arm, warm=False, latency_s=99.0, fallback=True),
        Turn(**arm, warm=False, latency_s=99.0, redirected=True),
        Turn(**arm, latency_s=99.0),
        Turn(**arm, warm=True, latency_s=0.0, cancelled=True),
        Turn(**arm, warm=True, latency_s=0.0, error=True),
    ]
    log.append(facts)
    return log


def test_a_cold_canary_is_told_with_cold_and_warm_latency_apart():
    """Every fifth turn cold or more: the status and the read-out say it, each latency for itself."""
    log = recorded(cold=10, warm=20)
    found = status(log, "bot").warmth["treatment"]
    assert (found.cold, found.warm, found.cold_median_s, found.warm_median_s) == (10, 22, 3.0, 0.4)
    said = "\n".join(status_lines(status(log, "bot")))
    assert "treatment 22 0.4 s 10 3 s" in " ".join(said.split())
    assert (
        "\ntoo little traffic to stay warm: treatment. Latency is that of a cold model; "
        "raise the coverage: equipoise rollout bot ramp SHARE\n"
    ) in said
    assert said.endswith(
        "before ab: treatment had too little traffic to stay warm, so its latency says little\n"
        '  equipoise rollout bot enter ab --reason "…"'
    )
    experiment = read_canonical(DEFINITION)
    checks = {
        each.name: each for each in check_health(experiment, measure_log(experiment, log), repeated=True)
    }
    assert checks["cold model"].status == "note"
    assert checks["cold model"].says == (
        "too little traffic to stay warm; turns that found their model unused for a minute: treatment 10 of 32 "
        "(median 3 s cold, 0.4 s warm). Latency is that of a cold model: raise the coverage before judging it"
    )


def test_a_warm_canary_is_not_accused():
    """Fewer than one in five: apart all the same, and no word of too little."""
    log = recorded(cold=2, warm=20)
    said = "\n".join(status_lines(status(log, "bot")))
    assert "treatment 22 0.4 s 2 3 s" in " ".join(said.split())
    assert "too little" not in said
    experiment = read_canonical(DEFINITION)
    checks = check_health(experiment, measure_log(experiment, log), repeated=True)
    assert "cold model" not in {each.name for each in checks}


def test_only_a_canary_is_looked_at_for_warmth():
    """Later stages have the traffic, and reading all their turns would take long."""
    log = recorded(cold=10, warm=20)
    enter(log, "bot", "ab", by="test", reason="a test")
    assert status(log, "bot").warmth == {}


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_a_built_in_metric_of_turns_names_something_that_turns_have(name):
    """A metric of something that no turn ever holds would be silently empty."""
    metric = CATALOGUE[name]
    named = [each for each in (metric.of, metric.per) if each is not None and each.stream == "turn"]
    assert [each for each in named if each.name not in OF_TURNS] == []
