"""A proportion where whole clusters are randomised: the share of a cluster's readings, or one yes or no when asked for."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from equipoise.conduct.analyze import analyze
from equipoise.conduct.rehearsal.run import changed
from equipoise.design.plan import MetricSize, plan
from equipoise.errors import DataError, DefinitionError
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical, read_definition
from equipoise.measurement.measuring import measure_table
from equipoise.measurement.rehearsed.population import Assumed, Crowd
from equipoise.stats.estimate import Estimate
from equipoise.stats.sizes.power import size_two_means
from equipoise.stats.sizes.power_clusters import cluster_mean_spread

SHARE: dict[str, Any] = {"priority": "primary", "per_unit": "mean", "baseline": 0.5, "mde": 0.1}
CLUSTERS = {"icc": 0.05, "size": 40, "size_cv": 0.6}


def definition(metric: dict[str, Any], name: str = "thumbs", **more: Any) -> dict[str, Any]:
    return {
        "name": "teams", "hypothesis": "Notes help.", "unit": {"type": "cluster"}, "changes": ["config"],
        "variants": {"control": {"config": {"notes": 0}}, "treatment": {"config": {"notes": 1}}}, "metrics": {name: metric},
    } | more  # fmt: skip


def teams(metric: dict[str, Any], name: str = "thumbs", **more: Any) -> Experiment:
    return read_canonical(definition(metric, name, **more))


def ratings(count: int, *, silent: int = 0, seed: int = 1) -> pa.Table:
    """Readings of teams of 2 to 30, yes more often in every second one; of `silent` more nothing is known."""
    rng, rows = random.Random(seed), []
    for n in range(count):
        rate, arm = rng.betavariate(6, 4), ("control", "treatment")[n % 2]
        rows += [(f"team-{n}", arm, float(rng.random() < rate)) for _ in range(rng.randrange(2, 31))]
    rows += [(f"silent-{n}", ("control", "treatment")[n % 2], None) for n in range(silent)]
    return pa.table(dict(zip(("unit", "variant", "thumbs_up"), zip(*rows, strict=True), strict=True)))


def by_hand(table: pa.Table) -> dict[str, list[float]]:
    said: dict[tuple[str, str], list[float]] = {}
    for row in table.to_pylist():
        if row["thumbs_up"] is not None:
            said.setdefault((row["variant"], row["unit"]), []).append(row["thumbs_up"])
    return {
        arm: [sum(of) / len(of) for (whose, _), of in said.items() if whose == arm]
        for arm in ("control", "treatment")
    }


def test_a_share_is_planned_as_a_mean_of_clusters_that_weigh_alike() -> None:
    """The built-in rate of thumbs, by `per_unit: mean`: sized by what clusters' shares differ by; so is a mean of zeros and ones."""
    drawn = plan(teams(SHARE, plan={"clusters": CLUSTERS}))
    twin = size_two_means(cluster_mean_spread(0.5, 0.05, 40, 0.6), 0.1)
    size = drawn.sizes["thumbs"]
    assert isinstance(size, MetricSize)
    assert size.units == {"control": twin.control, "treatment": twin.treatment}
    assert drawn.notes[0] == (
        "a unit is a cluster of 40 readings; with an intraclass correlation of 0.05 they tell as much as 12.2 independent ones "
        "(design effect 3.29)"
    )
    numbers = SHARE | {"kind": "mean", "of": "outcome.thumbs_up", "better": "higher", "spread": 0.5}
    assert plan(teams(numbers, "up", plan={"clusters": CLUSTERS})).total == drawn.total
    assert plan(teams(SHARE | {"spread": 0.2})).total == size_two_means(0.2, 0.1).total
    assert str(plan(teams(SHARE)).sizes["thumbs"]).find("needs a `spread`") > 0


def test_one_yes_or_no_of_a_cluster_is_sized_as_one_and_the_plan_says_so() -> None:
    """Its baseline is the share of clusters, and how alike readings are says nothing of it."""
    one = SHARE | {"per_unit": "last"}
    drawn, plain = plan(teams(one, plan={"clusters": CLUSTERS})), plan(teams(one, unit="user"))
    assert drawn.total == plain.total == 776
    assert drawn.notes[1] == (
        "one value of each cluster: thumbs (the last of its readings). Their `baseline` and `spread` are those of clusters, and "
        "`plan.clusters` says nothing of them; `per_unit: mean` takes a cluster's mean, or its share of yeses"
    )


@pytest.mark.parametrize("count", [16, 90])
def test_a_share_is_read_out_as_the_mean_over_clusters(count: int) -> None:
    """Few and many teams, some of which say nothing: arms' values and the error are those of the teams' own shares."""
    ibis = pytest.importorskip("ibis")
    table, experiment = ratings(count, silent=4), teams(SHARE)
    shares = by_hand(table)
    here = analyze(experiment, table).findings
    there = analyze(experiment, ibis.duckdb.connect().create_table("t", table)).findings
    effect, theirs = here.primary[0], there.primary[0]
    assert (effect.kind, effect.control, effect.treatment) == (
        "proportion", pytest.approx(np.mean(shares["control"])), pytest.approx(np.mean(shares["treatment"])),
    )  # fmt: skip
    assert effect.missing == {"control": 2, "treatment": 2}
    assert isinstance(effect.estimate, Estimate)
    assert isinstance(theirs.estimate, Estimate)
    error = sum(np.var(of, ddof=1) / len(of) for of in shares.values()) ** 0.5
    assert effect.estimate.standard_error == pytest.approx(error)
    assert (effect.estimate.method == "difference of cluster totals, CR3 and t") == (count == 16)
    assert theirs.estimate.value == pytest.approx(effect.estimate.value, rel=1e-9)
    assert theirs.estimate.standard_error == pytest.approx(effect.estimate.standard_error, rel=1e-9)
    assert here.declared["thumbs"] == (
        "primary, mean over clusters of the share of their outcome.thumbs_up, higher is better, to detect 0.1"
    )
    (bounds,) = [each for each in here.cautions if each.name == "missing thumbs"]
    low, high = (
        (sum(shares["treatment"]) + 2 * t) / (count / 2 + 2)
        - (sum(shares["control"]) + 2 * c) / (count / 2 + 2)
        for t, c in ((0, 1), (1, 0))
    )
    said = [f"{'−' if each < 0 else '+'}{abs(each) * 100:.3f} pp" for each in (low, high)]
    assert bounds.says.endswith(f"whatever they were, by {said[0]} to {said[1]}")


def test_one_yes_or_no_stays_one_and_readings_of_a_share_are_yes_or_no() -> None:
    """`any` is 1 of a team with a single yes; and 0.5 is no reading that a share could be of."""
    table = ratings(90)
    effect = analyze(teams(SHARE | {"per_unit": "any"}, "up", metrics={"up": SHARE | {
        "per_unit": "any", "kind": "proportion", "of": "outcome.thumbs_up", "better": "higher"}}), table).findings.primary[0]  # fmt: skip
    assert effect.control == np.mean([share > 0 for share in by_hand(table)["control"]])
    halves = pa.table({"unit": ["a", "b"], "variant": ["control", "treatment"], "thumbs_up": [0.5, 1.0]})
    with pytest.raises(DataError) as refused:
        measure_table(teams(SHARE), halves)
    assert str(refused.value) == (
        "thumbs is a proportion of outcome.thumbs_up, and 1 unit has another value than 0 or 1, such as 0.5. Use `kind: mean`, "
        "or record true and false"
    )


def test_what_is_not_written_is_asked_for_and_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    """A proportion of teams without `per_unit` is a caution; built-in rates may be shares of clusters, and of nothing else."""
    path = tmp_path / "e.yaml"

    def said(form: dict[str, Any]) -> list[str]:
        path.write_text(yaml.safe_dump(form), "utf-8")
        try:
            return [str(each).split(": ", 1)[1] for each in read_definition(path).warnings]
        except DefinitionError as refused:
            return sorted(str(fault).split(": ", 1)[1] for fault in refused.faults)

    assert said(definition(SHARE)) == []
    assert said(definition(SHARE | {"per_unit": "last"})) == []
    assert said(definition({key: SHARE[key] for key in ("priority", "baseline", "mde")})) == [
        (
            "metrics.thumbs: of each cluster 'thumbs' is one yes or no, made of its readings by `last`; `per_unit: mean` takes the "
            "share of a cluster's readings; say `per_unit: last` to keep one yes or no"
        )
    ]
    assert said(definition(SHARE, unit="user")) == [
        (
            "metrics.thumbs.per_unit: 'thumbs' is a built-in metric whose per_unit is last, not mean; accepted: last; give a metric "
            "of your own another name"
        )
    ]
    assert said(definition(SHARE | {"per_unit": "any"})) == [
        (
            "metrics.thumbs.per_unit: 'thumbs' is a built-in metric whose per_unit is last, not any; accepted: last; give a metric "
            "of your own another name"
        )
    ]
    assert said(definition(SHARE | {"window": "1d"}, method="bandit", pins="required")) == [
        (
            "metrics.thumbs.per_unit: a bandit's reward is one yes or no of each cluster, and this is the share of its readings; "
            "accepted: any, all, first or last; or give a metric of your own `kind: mean`"
        )
    ]


@pytest.mark.parametrize("effect", [0.1, -0.1, 0.45])
def test_a_rehearsal_draws_shares_as_the_plan_expects_them(effect: float) -> None:
    """Between 0 and 1, of that mean and spread, and moved by so much on average; alike by an icc where that is asked for."""
    experiment = teams(SHARE, plan={"clusters": CLUSTERS})
    metric, rng = experiment.primary, np.random.default_rng(4)
    drawn = Assumed(experiment).draw(200_000, rng)
    values = drawn.values["thumbs"]
    assert values.mean() == pytest.approx(0.5, abs=0.002)
    assert values.std() == pytest.approx(cluster_mean_spread(0.5, 0.05, 40, 0.6), rel=0.01)
    moved = np.arange(200_000) % 2 == 1
    after = changed(drawn, metric, moved, effect, 0.5, rng).values["thumbs"]
    assert after[moved].mean() == pytest.approx(0.5 + effect, abs=0.003)
    assert 0.0 <= after.min() <= after.max() <= 1.0
    assert np.array_equal(after[~moved], values[~moved])
    alike = Assumed(experiment, icc=0.3, cluster_size=2).draw(200_000, rng).values["thumbs"].reshape(-1, 2)
    assert np.corrcoef(alike.T)[0, 1] == pytest.approx(0.3, abs=0.01)
    assert alike.std() == pytest.approx(values.std(), rel=0.01)
    assert Assumed(teams(SHARE)).left_out == {
        "thumbs": "how clusters differ is not said: it has no `spread`, and there is no `plan.clusters`"
    }
    zeros = Crowd(4, {"thumbs": np.array([0.0, 1.0, 0.0, 1.0])})
    turned = changed(zeros, metric, np.ones(4, dtype=bool), 0.5, 0.5, rng).values["thumbs"]
    assert turned.tolist() == [1.0, 1.0, 1.0, 1.0]
