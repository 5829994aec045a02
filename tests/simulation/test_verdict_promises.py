"""What a rule promises that ships what is not worse: seldom what is worse by the margin, mostly what is as good."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.analysis.analysing import analyse
from equipoise.analysis.looks import PastLook
from equipoise.design.plan import plan
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.tally import Measurement, Tally
from equipoise.stats.moments import Moments
from equipoise.verdict.deciding import decide

MARGIN, SPREAD = 0.2, 1.0
LOOKS = (0.5, 1.0)


def design(**more: object) -> Experiment:
    rule = [
        {"when": {"health": "invalid"}, "then": "invalid"},
        {"when": {"look": "peek"}, "then": "keep running"},
        {"when": {"primary": "not_estimable"}, "arms": "any", "then": "invalid"},
        {"when": {"primary": "non_inferior"}, "then": "ship"},
        {"when": {"primary": "worse"}, "then": "hold"},
        {"when": {"look": "last"}, "then": "hold"},
        {"then": "keep running"},
    ]
    primary = {"priority": "primary", "kind": "mean", "of": "outcome.rated", "better": "higher", "spread": SPREAD, "margin": MARGIN}  # fmt: skip
    return read_canonical(
        {
            "name": "cheaper",
            "hypothesis": "A smaller model is rated no worse.",
            "unit": "user",
            "changes": ["model"],
            "variants": {"control": {"model": "a"}, "b": {"model": "b"}},
            "metrics": {"rated": primary},
            "plan": {"alpha": 0.05, "power": 0.8, "looks": list(LOOKS)},
            "verdict": rule,
        }
        | more
    )


def measured(arms: dict[str, Moments]) -> Measurement:
    units = {arm: moments.n for arm, moments in arms.items()}
    return Measurement(
        source="drawn by chance", rows=sum(units.values()), units=units, crossed=0, kept=True, rows_without_unit=0,
        clusters=None, first=0.0, last=1.0,
        tallies={"rated": {arm: Tally(units=each.n, missing=0, moments=each) for arm, each in arms.items()}},
    )  # fmt: skip


def drawn(rng: np.random.Generator, units: int, mean: float) -> Moments:
    """The moments of so many normal values: of their mean and their variance, without the values."""
    return Moments(units, rng.normal(mean, SPREAD / units**0.5), SPREAD**2 * rng.chisquare(units - 1))


def shipped(experiment: Experiment, effect: float, replications: int, seed: int) -> int:
    """How many of so many experiments ship, each looked at as registered, at the units that the plan asks for."""
    planned = plan(experiment)
    assert planned.total is not None
    rng, count = np.random.default_rng(seed), 0
    for _ in range(replications):
        arms = {"control": Moments.zero(), "b": Moments.zero()}
        past: list[PastLook] = []
        for number, _ in enumerate(LOOKS, 1):
            # A few more than planned, so that chance in the variance seldom leaves a look short of its information.
            batch = round(planned.total / 2 / len(LOOKS) * 1.1)
            arms = {arm: moments + drawn(rng, batch, effect * (arm == "b")) for arm, moments in arms.items()}
            findings = analyse(
                experiment,
                measured(arms),
                maximum=planned.information,
                past=past,
                closing=number == len(LOOKS),
            )
            word = decide(findings).word
            past.append(PastLook(findings.look.at, findings.look.boundary))
            if word != "keep running":
                break
        assert word in ("ship", "hold")
        count += word == "ship"
    return count


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
def test_what_is_worse_by_the_margin_ships_as_often_as_alpha_says(seed: int) -> None:
    """1,500 experiments that are worse by exactly the margin, two looks: half of 5 % ship, within 4 standard errors.

    The tolerance is 4·sqrt(0.025·0.975/1500) = 1.6 points, so that a true 2.5 % fails one run in 16,000. Both sides are
    checked: far fewer would be power thrown away.
    """
    replications = 1_500
    found = shipped(design(), -MARGIN, replications, seed) / replications
    assert abs(found - 0.025) <= 4 * (0.025 * 0.975 / replications) ** 0.5


def test_what_is_as_good_ships_as_often_as_the_plan_says() -> None:
    """600 experiments without a difference, at a tenth more units than planned: 80 % and a little more ship.

    With 1.1 times the information the power is 83.6 %; four standard errors are 6 points, and one run in 16,000 fails.
    """
    replications = 600
    found = shipped(design(), 0.0, replications, 3) / replications
    assert abs(found - 0.836) <= 4 * (0.836 * 0.164 / replications) ** 0.5
