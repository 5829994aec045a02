"""`equipoise size KIND` answers in one shape for every kind, forwards and backwards."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from equipoise.cli.size import app
from equipoise.design.conditions import Conditions, days_needed
from equipoise.design.outcomes import Mean
from equipoise.design.size import Size, curve, size
from equipoise.errors import UsageError
from equipoise.stats.families.dunnett import dunnett_alpha

KINDS = {
    "proportion": "proportion --baseline 0.60",
    "mean": "mean --spread 1.0",
    "ratio": "ratio --mean-x 1.5 --mean-y 3 --spread-x 1.14 --spread-y 1.41 --correlation 0.62",
    "quantile": "quantile --quantile 0.95 --density 0.5",
    "noninferior_proportion": "noninferiority --baseline 0.9",
    "noninferior_mean": "noninferiority --spread 1.0",
    "clusters": "clusters --icc 0.05 --cluster-size 20 --cluster-cv 0.65 --baseline 0.6",
    "judged_proportion": "judged --baseline 0.60 --sensitivity 0.9 --specificity 0.8",
}
SHAPE = {"kind", "per_variant", "by_variant", "total", "alpha", "power", "ratio", "sides"}


def asked(command: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*command.split(), "--json"])
    assert result.exception is None, result.exception
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_answers_both_questions_in_one_shape(name: str) -> None:
    """Units for an effect; then those units find about that effect again, and say which was solved for."""
    option = "margin" if name.startswith("noninferior") else "mde"
    there = asked(f"{KINDS[name]} --{option} 0.05")
    back = asked(f"{KINDS[name]} --units {there['total']}")
    assert set(there) >= SHAPE | {option}
    assert set(back) == set(there) | {"solved"}
    assert back["solved"] == "effect"
    assert back[option] == pytest.approx(0.05, rel=0.02)
    assert there["total"] == sum(there["by_variant"].values())
    assert back["total"] <= there["total"]
    assert set(asked(f"{KINDS[name]} --{option} 0.05 --arms 3")["by_variant"]) == {
        "control",
        "treatment_1",
        "treatment_2",
    }


def test_the_sentence_of_the_readme() -> None:
    """1,471 per variant, 2,942 in all."""
    result = CliRunner().invoke(app, ["proportion", "--baseline", "0.60", "--mde", "0.05"])
    assert result.stdout == "1,471 units per variant, 2,942 in all (alpha 0.05, two-sided; power 0.8)\n"


def test_the_prices_of_arms_looks_and_clusters_are_named() -> None:
    """Beside the units: each comparison's alpha, the looks' factor, the design effect, the days."""
    found = asked(
        "mean --spread 1 --mde 0.1 --arms 5 --ratio 0.5 --looks 4 --icc 0.02 --cluster-size 10 "
        "--units-per-day 1000 --cycle-days 7"
    )
    assert found["alpha_each"] == pytest.approx(dunnett_alpha(1.0, [0.5] * 4))
    assert 0.05 / 4 < found["alpha_each"] < 0.05
    assert 1.0 < found["inflation"] < 1.03
    assert found["design_effect"] == pytest.approx(1.18)
    assert found["by_variant"]["control"] == 10 * found["clusters_by_variant"]["control"]
    assert found["days"] == days_needed(found["total"], 1000) == pytest.approx(7 * (found["days"] // 7))


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (
            "proportion --baseline 0.6",
            "give either --mde (to ask for units) or --units (to ask for the effect they find)",
        ),
        (
            "proportion --baseline 0.6 --mde 0.05 --units 100",
            "give either --mde (to ask for units) or --units (to ask for the effect they find)",
        ),
        (
            "proportion --baseline 0.98 --mde 0.05",
            "baseline + mde must lie strictly between 0 and 1, not 1.03",
        ),
        ("proportion --baseline 0.6 --mde x", "--mde x cannot be read; accepted: a number, '5pp' or '8%'"),
        (
            "clusters --icc 0.1 --cluster-size 5 --spread 1 --mde 5%",
            "--mde 5% is relative, and a spread alone gives nothing to take it of",
        ),
        ("noninferiority --margin 0.1", "give either --baseline (a rate) or --spread (a mean)"),
        (
            "proportion --baseline 0.9 --units 8",
            "even the largest possible rise from 0.9 would be found with less than 80% power",
        ),
        (
            "proportion --baseline 0.6 --mde 0.05 --correction holm --arms 3",
            "correction must be 'dunnett' or 'bonferroni', not 'holm'",
        ),
        (
            "proportion --baseline 0.6 --mde 0.05 --icc 0.1",
            "icc and cluster_size belong together: give both, or neither",
        ),
        (
            "noninferiority --baseline 0.9 --margin 1pp --better more",
            "better must be 'higher' or 'lower', not 'more'",
        ),
        (
            "ratio --mean-x 1 --mean-y 0 --spread-x 1 --spread-y 1 --correlation 0 --mde 0.1",
            "mean_y must not be 0: nothing can be divided by it",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_sentence(command: str, sentence: str) -> None:
    """The whole message."""
    result = CliRunner().invoke(app, command.split())
    assert isinstance(result.exception, UsageError)
    assert str(result.exception) == sentence


def test_a_fall_is_found_with_its_sign() -> None:
    """`--fall` asks for a fall, which is negative."""
    assert (
        asked("proportion --baseline 0.9 --units 2000 --fall")["mde"]
        < 0
        < asked("proportion --baseline 0.9 --units 2000")["mde"]
    )


def test_a_curve_runs_through_the_effect_it_was_sized_for() -> None:
    """Twice the effect at its end, the power asked for in its middle; clusters and looks too."""
    for how in (Conditions(), Conditions(looks=3), Conditions(icc=0.1, cluster_size=12)):
        points = curve(Mean(1.0), size(Mean(1.0), 0.3, conditions=how), points=20)
        assert points[9].effect == pytest.approx(0.3)
        assert points[9].power == pytest.approx(0.8, abs=0.015)
        assert [p.power for p in points] == sorted(p.power for p in points)
    assert (
        len(asked("proportion --baseline 0.6 --mde 0.25 --curve")["power_curve"]) == 31
    )  # 0.6 + 0.4 is no rate


def test_a_size_cannot_change() -> None:
    """It is frozen, like every value."""
    with pytest.raises(AttributeError):
        size(Mean(1.0), 0.3).control = 3  # type: ignore[misc]
    assert isinstance(size(Mean(1.0), 0.3), Size)


def test_days_are_whole_cycles() -> None:
    """Exactly two weeks stay two weeks; one unit more is a third; burn-in comes first."""
    assert days_needed(1400, 100) == 14.0
    assert days_needed(1401, 100) == 21.0
    assert days_needed(1400, 100, burn_in_days=1) == 21.0
    assert days_needed(3, 0.1, cycle_days=0) == 30.0
