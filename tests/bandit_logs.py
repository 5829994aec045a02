"""A bandit served from a log: exposures and outcomes under the shares that its epochs announce."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from fractions import Fraction

from equipoise.clock import ManualClock
from equipoise.conduct.register import register
from equipoise.events.facts import Allocation, Exposure, Fact, Outcome
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment

TEXT = """
name: greetings
hypothesis: One of three greetings gets more answers.
method: bandit
changes: [config]
unit: {type: user, id: token}
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}, c: {config: {x: 3}}}
metrics:
  answered: {priority: primary, kind: proportion, of: outcome.answered, better: higher, window: 1h, absent: 0, baseline: 0.3, mde: 0.1}
  cost: {priority: guardrail, kind: mean, of: outcome.cost, better: lower, margin: 0.5}
bandit: {every: 1h}
"""

EVEN = {"control": Fraction(1, 3), "b": Fraction(1, 3), "c": Fraction(1, 3)}
BEGAN = 1e9
HOUR = 3_600.0


def begin(log: EventLog, design: Experiment) -> None:
    """Register it, at the time from which the epochs of `epoch` are counted."""
    register(log, design, by="test", clock=ManualClock(BEGAN))


def epoch(
    log: EventLog,
    design: Experiment,
    number: int,
    rates: Mapping[str, float],
    *,
    shares: Mapping[str, Fraction] = EVEN,
    units: int = 200,
    cost: Mapping[str, float] | None = None,
    logged: Mapping[str, float] | None = None,
    announced: bool = True,
    lost: str | None = None,
    alike: float = 0.0,
) -> None:
    """One hour of an epoch: announced, and so many units that came in under its shares and answered at these rates.

    `cost` is an arm's mean cost (2 unless said), `logged` the probability that exposures hold where it is not the share's.
    Of the arm that is `lost` every third exposure is missing. Every other unit is of the gold tier.
    There are twenty teams, and those of every other one answer `alike` more often, the rest less.
    """
    starts = BEGAN + number * HOUR
    common = {"experiment": design.name}
    facts: list[Fact] = []
    if announced:
        facts.append(
            Allocation(
                **common,
                event_id=f"epoch {number}",
                happened=starts - 60.0,
                digest=design.digest,
                epoch=number,
                starts=starts,
                shares={arm: str(share) for arm, share in shares.items()},
                coverage="1",
                by="test",
            )
        )
    rng = random.Random(number)
    for place, arm in enumerate(_drawn(shares, units, rng)):
        unit, happened = f"u{number}-{place}", starts + 3_000.0 * place / units
        if arm == lost and place % 3 == 0:
            continue
        facts.append(
            Exposure(
                **common,
                event_id=f"{unit} exposed",
                happened=happened,
                digest=design.digest,
                unit=unit,
                unit_type="user",
                variant=arm,
                probability=(logged or {}).get(arm, float(shares[arm])),
                reason="split",
                epoch=number,
                attributes={"tier": "gold" if place % 2 else "free", "team": f"team {place % 20}"},
            )
        )
        values = {
            "cost": rng.gauss((cost or {}).get(arm, 2.0), 0.5),
            "answered": float(rng.random() < rates[arm] + (alike if place % 2 else -alike) / 2),
        }
        facts += [
            Outcome(
                **common,
                event_id=f"{unit} {name}",
                happened=happened + 60.0,
                unit=unit,
                name=name,
                value=value,
            )
            for name, value in values.items()
        ]
    log.append(facts)


def _drawn(shares: Mapping[str, Fraction], units: int, rng: random.Random) -> Sequence[str]:
    return rng.choices(list(shares), weights=[float(share) for share in shares.values()], k=units)
