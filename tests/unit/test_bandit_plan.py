"""A bandit's plan: what it would lose and whom it would expose, and when it does not fit."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import forked
import pytest
from processes import QUIET

from equipoise.design.bandit_forecast import BanditForecast, forecast_bandit, when_it_fits
from equipoise.errors import UsageError
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical
from equipoise.stats.estimate import NotEstimable

RATE = {"priority": "primary", "window": "1h", "baseline": 0.6, "mde": 0.05}
FITS = (
    "a bandit fits where the reward meanwhile counts, is known soon, and many arms are tried; where a clean estimate is "
    "wanted, or what becomes of it in the long run, an A/B test does"
)

LATE = (
    "resolution_rate is known after {} and shares change every {}: each epoch begins without what the last {} will have told, "
    "and no `every` makes it learn sooner than rewards come"
)


def played(metric: dict[str, Any] | None = None, section: dict[str, Any] | None = None, arms: int = 4, **more: Any) -> Experiment:  # fmt: skip
    names = ["control", "b", "c", "d", "e", "f"][:arms]
    return read_canonical(
        {
            "name": "bot", "hypothesis": "One is better.", "method": "bandit", "bandit": section or {},
            "unit": {"type": "user", "id": "uuid7"}, "changes": ["model"],
            "variants": {name: {"model": name} for name in names},
            "metrics": {"resolution_rate": metric or RATE},
        } | more
    )  # fmt: skip


def found(experiment: Experiment, units: int = 20_000) -> BanditForecast:
    forecast = forecast_bandit(experiment, units=units, units_per_day=5_000)
    assert isinstance(forecast, BanditForecast)
    return forecast


@pytest.mark.parametrize("policy", ["thompson", "top_two", "epsilon_greedy", "ucb"])
def test_every_policy_loses_less_than_even_shares_and_finds_the_best(policy: str) -> None:
    """Where one of four arms is better by five points: fewer rewards lost, fewer units in a worse arm."""
    forecast = found(played(section={"policy": policy}))
    assert forecast.lost < 0.8 * forecast.lost_evenly
    assert forecast.lost_evenly == pytest.approx(20_000 * 0.05 * 3 / 4)
    assert forecast.worse < 0.8 * forecast.worse_evenly == pytest.approx(0.6)
    # Losing a twentieth of a reward in each unit of a worse arm, and nothing else.
    assert forecast.lost == pytest.approx(forecast.worse * 20_000 * 0.05, rel=1e-3)
    assert forecast.found > 0.8
    assert (forecast.epochs, forecast.days) == (96, 4.0)


def test_the_same_seed_gives_the_same_forecast() -> None:
    """Nothing is drawn but from the seed, which stands in the result."""
    assert found(played()) == found(played())
    assert found(played()).seed == 1


def test_what_is_known_late_is_learnt_late() -> None:
    """A reward that takes two days leaves the bandit with even shares for so long."""
    soon, late = found(played()), found(played(RATE | {"window": "2d"}))
    assert late.worse > soon.worse + 0.1


def test_means_and_counts_are_simulated_by_their_own_laws() -> None:
    """A mean needs its spread; fewer tokens are better; counts vary as counts do."""
    tokens = {"kind": "mean", "of": "turn.tokens", "better": "lower", "window": "1h", "priority": "primary", "baseline": 200, "mde": 20}  # fmt: skip
    section = {"prior": {"mean": 200, "weight": 1, "shape": 1, "scale": 900}}
    assert forecast_bandit(
        played(metrics={"tokens": tokens}, section=section), units=100, units_per_day=10
    ) == NotEstimable("tokens has no `spread`, by which units differ")
    forecast = found(played(metrics={"tokens": tokens | {"spread": 60}}))
    assert forecast.found > 0.9
    assert forecast.worse < 0.3
    clicks = {"kind": "count", "of": "outcome.clicks", "better": "higher", "window": "1h", "priority": "primary", "baseline": 2, "mde": 0.4}  # fmt: skip
    assert found(played(metrics={"clicks": clicks})).worse < 0.3


def test_without_what_it_starts_from_there_is_no_forecast() -> None:
    """Each reason names what is lacking."""

    def why(metric: dict[str, Any], units: int | None = 1_000) -> str:
        forecast = forecast_bandit(played(metric), units=units, units_per_day=units)
        assert isinstance(forecast, NotEstimable)
        return forecast.reason

    bare = {"priority": "primary", "window": "1h"}
    assert why(bare) == "resolution_rate has no `baseline`, from which a bandit could be simulated"
    assert (
        why(bare | {"baseline": 0.5})
        == "resolution_rate has no `mde`, from which a bandit could be simulated"
    )
    assert why(RATE, None) == "no traffic is given; say `units_per_day` in the plan, or --units-per-day"
    assert why(RATE | {"mde": 0.5}) == "resolution_rate would be 1.1, and a rate lies between 0 and 1"


def test_what_speaks_against_this_bandit_is_said() -> None:
    """A reward slower than its epochs, two arms, epochs of nobody, guardrails in an arm of a few: a sentence each."""
    assert when_it_fits(played(), units_per_day=10_000) == (
        FITS,
        LATE.format("1 h", "1 h", "epoch"),
    )
    assert when_it_fits(played(RATE | {"window": "30m"})) == (FITS,)
    guarded = {
        "resolution_rate": RATE | {"window": "14d"},
        "error_rate": {"priority": "guardrail", "margin": "1pp"},
    }
    assert when_it_fits(played(arms=2, metrics=guarded, section={"every": "1d"}), units_per_day=12) == (
        FITS,
        LATE.format("14 d", "1 d", "14 epochs"),
        "resolution_rate takes 14 d to be known: an A/B test has its answer hardly later, and a clean one",
        "with two arms an A/B test gives half of the units the better one anyway; a bandit saves more where there are more arms",
        "about 12 units come in an epoch, among 2 arms: a longer `every` loses nothing",
        "an arm with 5% of the units takes 10 times as long as with even shares to show what error_rate is",
    )


def test_what_is_no_bandit_has_no_such_plan() -> None:
    """It is refused by name."""
    plain = read_canonical({
        "name": "plain", "hypothesis": "It helps.", "unit": "user", "changes": ["model"],
        "variants": {"control": {"model": "a"}, "b": {"model": "b"}}, "metrics": {"resolution_rate": {"priority": "primary"}},
    })  # fmt: skip
    for ask in (lambda: when_it_fits(plain), lambda: forecast_bandit(plain, units=1, units_per_day=1.0)):
        with pytest.raises(UsageError) as refused:
            ask()
        assert str(refused.value) == f"{plain.identity} is no bandit"


def test_the_command_tells_it_beside_the_ab_test(tmp_path: Path) -> None:
    """As text and as JSON; of an A/B test it says nothing of the kind."""
    file = tmp_path / "bot.yaml"
    file.write_text(
        "name: bot\nhypothesis: One is better.\nmethod: bandit\nunit: {type: user, id: uuid7}\nchanges: [model]\n"
        "plan: {units_per_day: 4000}\nvariants: {control: {model: a}, b: {model: b}, c: {model: c}}\n"
        "metrics: {resolution_rate: {priority: primary, window: 30m, baseline: 0.6, mde: 0.05}}\n",
        "utf-8",
    )
    command = [sys.executable, "-m", "equipoise", "plan", str(file)]
    said = forked.run(command, env=QUIET).stdout
    told = json.loads(forked.run([*command, "--json"], env=QUIET).stdout)
    forecast = told["bandit"]["forecast"]
    assert told["bandit"]["says"] == [FITS]
    assert forecast["units"] == told["total"]
    assert f"\nAs a bandit\n  over the {forecast['units']:,} units of that A/B test" in said
    assert said.endswith(f"Note: {FITS}.\n")
