"""Does control change as treatment spreads? What a ramp in the log says of it, in three answers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
from playing import HOUR, bandit, playing, served

from equipoise.analysis.analysing import analyse
from equipoise.analysis.findings import Check
from equipoise.analysis.interference import interference
from equipoise.clock import ManualClock
from equipoise.conduct.weigh import weigh
from equipoise.errors import UsageError
from equipoise.events.facts import Allocation, Exposure, Fact, Turn
from equipoise.events.log import MemoryLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.measuring import measure_log
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.health.interference import ControlDay, control_by_share

DAY = 86_400.0
START = 1_760_054_400.0
BASE: dict[str, Any] = {
    "name": "ramped", "hypothesis": "It is cheaper.", "unit": "user", "changes": ["model"],
    "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
    "metrics": {"cost": {"priority": "primary", "kind": "mean", "of": "turn.cost_usd", "better": "lower"}},
}  # fmt: skip
RAMP = ((0, "1/10"), (7, "2/5"), (14, "1"))


def ramped(
    moves: float, *, days: int = 28, ramp: tuple[tuple[int, str], ...] = RAMP, **more: Any
) -> tuple[Experiment, MemoryLog]:
    """Forty users a day of each arm; control costs `moves` more at a whole share, and more at weekends and by the day."""
    experiment, rng, log = read_canonical(BASE | more), random.Random(4), MemoryLog()
    shares = {name: str(share) for name, share in experiment.allocation.items()}
    facts: list[Fact] = [
        Allocation(
            experiment="ramped", happened=START, digest=experiment.digest, epoch=n, starts=START + day * DAY + 3600.0 * (day > 0),
            shares=shares, coverage=coverage, by="ann",
        )
        for n, (day, coverage) in enumerate(ramp)
    ]  # fmt: skip
    facts += _served(experiment, moves, days, dict(ramp), rng)
    log.append(facts)
    return experiment, log


def _served(
    experiment: Experiment, moves: float, days: int, ramp: dict[int, str], rng: random.Random
) -> Iterator[Fact]:
    share = 0.0
    for day in range(days):
        if day in ramp:
            share = float(Fraction(ramp[day]) / 2)
        level = 1.0 + moves * share + 0.1 * (day % 7 > 4) + 0.004 * day + rng.gauss(0.0, 0.01)
        for n in range(80):
            arm = ("control", "treatment")[n % 2]
            # Nobody comes in during the first two hours, so that no day has two shares.
            at = START + day * DAY + rng.uniform(7200.0, DAY - 60.0)
            common: Any = {
                "experiment": "ramped",
                "digest": experiment.digest,
                "unit": f"u{day}-{n}",
                "variant": arm,
            }
            yield Exposure(**common, happened=at, unit_type="user", probability=0.5, reason="split")
            yield Turn(**common, happened=at + 1.0, reason="split", cost_usd=level + rng.gauss(0.0, 0.1))


def asked(experiment: Experiment, log: MemoryLog) -> list[Check]:
    return interference(experiment, measure_log(experiment, log))


def test_a_control_that_moves_with_the_ramp_is_a_caution() -> None:
    """From 5 % to 50 % of all traffic control costs .27 more: the caution has the figure, and what it may mean."""
    experiment, log = ramped(0.6)
    measured = measure_log(experiment, log)
    assert sorted({each.share for each in measured.control_days}) == [0.05, 0.2, 0.5]
    assert len(measured.control_days) == 28
    found = control_by_share(measured.control_days)
    assert isinstance(found, Estimate)
    assert found.low < 0.6 < found.high
    reach = 0.45
    assert interference(experiment, measured) == [
        Check(
            "control as treatment spreads",
            "note",
            f"it moved cost of control by {found.value * reach:+.3g} [{found.low * reach:.3g}, {found.high * reach:.3g}] as the "
            f"treatment's share of traffic went from 0.05 to 0.5 (trend and weekday apart, p = {found.p_value:.2g}): units of control "
            "may feel the treatment, and the effect is then not that of going over for good; or something else changed with the "
            "ramp. Randomise clusters, or switch back and forth in time, to tell",
            found.p_value,
        )
    ]  # fmt: skip
    assert (
        interference(experiment, measured)[0]
        in analyse(experiment, measured, maximum=1.0, closing=True).cautions
    )
    assert not analyse(experiment, measured, maximum=1e9).cautions


def test_a_control_that_stays_is_said_to_show_no_move() -> None:
    """Weekends and a trend are no interference."""
    (check,) = asked(*ramped(0.0))
    assert check.status == "ok"
    assert check.says.startswith("no move is shown: cost of control by ")
    assert check.says.endswith("What is not shown is not absent")


def test_what_cannot_be_told_says_why_and_what_was_never_asked_says_nothing() -> None:
    """Ten days are too few; a share that never changed, and an experiment in slots, raise no question."""
    assert asked(*ramped(0.0, days=10)) == [
        Check(
            "control as treatment spreads",
            "ok",
            "cannot be told: control was seen on 10 days, and to tell a share from a trend and the weekdays takes 14",
        )
    ]
    assert asked(*ramped(0.6, ramp=((0, "1"),))) == []
    assert asked(*ramped(0.6, ramp=((0, "1"), (40, "1/2")))) == []


def test_a_ratio_is_that_of_the_days_sums() -> None:
    """Of a cost per turn the same days come out, as every unit has one turn."""
    ratio = {"cost": BASE["metrics"]["cost"] | {"kind": "ratio", "per": "turn.count"}}
    means = measure_log(*ramped(0.3)).control_days
    ratios = measure_log(*ramped(0.3, metrics=ratio)).control_days
    assert [(each.day, each.units) for each in ratios] == [(each.day, each.units) for each in means]
    assert [each.mean for each in ratios] == pytest.approx([each.mean for each in means])


def test_days_that_tell_nothing_are_no_number() -> None:
    """One share; a day that stands alone with its share; shares that follow the trend; a control that never varies."""
    days = [ControlDay(n, 0.1 if n < 10 else 0.5, 50, 1.0 + (n * 7919 % 13) / 100) for n in range(28)]
    assert isinstance(control_by_share(days), Estimate)
    assert control_by_share([ControlDay(each.day, 0.1, 50, each.mean) for each in days]) == NotEstimable(
        "the treatment's share never changed"
    )
    alone = [ControlDay(each.day, 0.5 if each.day == 9 else 0.1, 50, each.mean) for each in days]
    assert control_by_share(alone) == NotEstimable(
        "a day stands alone with its share, and nothing says how it would vary"
    )
    steady = [ControlDay(each.day, each.day / 100, 50, each.mean) for each in days]
    assert control_by_share(steady) == NotEstimable(
        "the share cannot be told from the trend and the weekdays"
    )
    flat = [ControlDay(each.day, each.share, 50, 1.0) for each in days]
    assert control_by_share(flat) == NotEstimable("control does not vary beyond share, trend and weekday")
    with pytest.raises(UsageError, match="a share lies between 0 and 1"):
        ControlDay(1, 1.5, 10, 1.0)
    with pytest.raises(UsageError, match="units"):
        ControlDay(1, 0.5, 0, 1.0)


def test_shares_that_follow_rewards_say_nothing_of_what_control_feels() -> None:
    """A bandit's control has few units because it was seen to earn little: that its days differ is the bandit's doing."""
    clock, rng = ManualClock(START), random.Random(1)
    log, experiment = MemoryLog(clock), bandit()
    playing(log, experiment, clock)
    for _ in range(3):
        served(log, experiment, clock, rng, 60, {"control": 0.4, "b": 0.4, "c": 0.8})
        clock.advance(HOUR)
        weigh(log, "bot", by="monitor", clock=clock)
        clock.advance(20.0)
    measured = measure_log(experiment, log)
    assert len(measured.epochs) >= 3
    assert measured.control_days == ()
