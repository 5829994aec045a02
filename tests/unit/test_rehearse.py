"""A rehearsal: the same seed is the same runs, scenarios are what was declared, and what cannot be drawn is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from equipoise.cli.main import app
from equipoise.conduct.rehearsal.bandit_run import _Play
from equipoise.conduct.rehearsal.run import DAY, Pace, Scenario, changed
from equipoise.conduct.rehearsal.scenarios import scenarios
from equipoise.conduct.rehearse import rehearse
from equipoise.errors import UsageError
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import load_experiment, read_canonical
from equipoise.measurement.rehearsed.population import Assumed
from equipoise.stats.moments import Moments

DEFINITION = """
name: rehearsed
hypothesis: Somebody looks before they leap.
changes: [config]
unit: {type: user, from: header:x-user}
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}}
metrics:
  ok: {priority: primary, kind: proportion, of: outcome.ok, better: higher, baseline: 0.5, mde: 20pp}
  cost: {priority: guardrail, kind: mean, of: turn.cost_usd, better: lower, baseline: 0.02, spread: 0.01, margin: 25%}
  MORE
plan: {looks: [0.5, 1.0], units_per_day: 60 PLAN}
"""


def defined(folder: Path, more: str = "", plan: str = "") -> Experiment:
    path = folder / "rehearsed.yaml"
    path.write_text(DEFINITION.replace("MORE", more).replace("PLAN", plan), encoding="utf-8")
    return load_experiment(path)


def test_the_same_seed_gives_the_same_runs_whoever_does_them(tmp_path):
    """One process or two, the outcomes are the same; another seed gives others."""
    experiment = defined(tmp_path)
    one = rehearse(experiment, runs=30, seed=4, processes=1, only=["planned"])
    two = rehearse(experiment, runs=30, seed=4, processes=2, only=["planned"])
    assert one.to_dict() == two.to_dict()
    assert one.to_dict() != rehearse(experiment, runs=30, seed=5, processes=1, only=["planned"]).to_dict()


def test_a_scenario_alone_is_what_it_is_among_the_others(tmp_path):
    """Leaving scenarios out changes nothing in those that stay."""
    experiment = defined(tmp_path)
    every = {each.scenario.name: each for each in rehearse(experiment, runs=8, processes=1).outcomes}
    assert list(every) == ["nothing", "planned", "opposite", "cost broken"]
    (alone,) = rehearse(experiment, runs=8, processes=1, only=["opposite"]).outcomes
    assert alone == every["opposite"]


def test_scenarios_are_what_was_declared(tmp_path):
    """The effect is the mde, its opposite, and a guardrail worse by twice its margin; rates stay rates."""
    experiment = defined(tmp_path)
    found = scenarios(experiment, Assumed(experiment))
    assert [dict(each.effects) for each in found] == [
        {},
        {"ok": 0.2},
        {"ok": -0.2},
        {"cost": pytest.approx(0.01), "ok": 0.2},
    ]
    assert found[3].says == "b: cost worse by 0.01, twice its margin, and ok better as planned"
    near = defined(
        tmp_path,
        "rare: {priority: guardrail, kind: proportion, of: outcome.rare, better: higher, baseline: 0.01, margin: 1pp}",
    )
    assert scenarios(near, Assumed(near))[-1].effects["rare"] == pytest.approx(-0.01)


@pytest.mark.parametrize("name", ["ok", "cost"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_an_effect_is_what_it_says(tmp_path, name, sign):
    """The units that differ come to the mean plus the effect, and nobody else is touched."""
    experiment = defined(tmp_path)
    population, rng = Assumed(experiment), np.random.default_rng(2)
    before = population.draw(200_000, rng)
    moved = np.arange(200_000) % 2 == 1
    metric = experiment.metric(name)
    mean = population.mean(metric)
    effect = sign * 0.3 * mean
    after = changed(before, metric, moved, effect, mean, rng)
    np.testing.assert_array_equal(after.values[name][~moved], before.values[name][~moved])
    error = 5 * after.values[name].std() / np.sqrt(100_000)
    assert after.values[name][moved].mean() == pytest.approx(mean + effect, abs=error)
    assert after.values[name].min() >= 0
    if name == "ok":
        assert set(np.unique(after.values[name])) == {0.0, 1.0}


def test_units_of_a_cluster_are_alike_by_the_icc(tmp_path):
    """Drawn rates and numbers correlate within a cluster by what was asked for, and keep mean and spread."""
    experiment = defined(tmp_path)
    drawn = Assumed(experiment, icc=0.2, cluster_size=4).draw(200_000, np.random.default_rng(1))
    for name, mean, spread in (("ok", 0.5, 0.5), ("cost", 0.02, 0.01)):
        values = drawn.values[name].reshape(-1, 4)
        assert values.mean() == pytest.approx(mean, rel=0.01)
        assert values.std() == pytest.approx(spread, rel=0.02)
        between = np.mean([np.corrcoef(values[:, i], values[:, j])[0, 1] for i in range(4) for j in range(i)])
        assert between == pytest.approx(0.2, abs=0.02)


def test_clusters_that_are_units_vary_as_the_plan_expects_it_of_them():
    """Twenty readings of a spread of 0.4, a tenth of whose variance lies between clusters: their means vary by less."""
    experiment = read_canonical({
        "name": "teams", "hypothesis": "Notes help.", "unit": {"type": "cluster"}, "changes": ["config"],
        "variants": {"control": {"config": {"x": 1}}, "b": {"config": {"x": 2}}},
        "metrics": {"done": {"priority": "primary", "kind": "mean", "of": "outcome.done", "better": "higher", "baseline": 0.6, "spread": 0.4, "mde": 0.1}},
        "plan": {"clusters": {"icc": 0.1, "size": 20}},
    })  # fmt: skip
    values = Assumed(experiment).draw(200_000, np.random.default_rng(1)).values["done"]
    assert values.mean() == pytest.approx(0.6, rel=0.01)
    assert values.std() == pytest.approx(np.sqrt(0.4**2 * (0.1 + 0.9 / 20)), rel=0.01)


def test_burn_in_windows_and_whole_cycles_take_their_time(tmp_path):
    """Days include the burn-in and the window in which a unit's value matures; with whole cycles nobody counts in between."""
    plain = rehearse(defined(tmp_path), runs=40, processes=1, only=["nothing"]).outcomes[0]
    burnt = rehearse(
        defined(tmp_path, plan=", burn_in: 2d"), runs=40, processes=1, only=["nothing"]
    ).outcomes[0]
    assert burnt.days.mean == pytest.approx(plain.days.mean + 2)
    assert burnt.units.mean == pytest.approx(plain.units.mean + 120)
    pace = Pace(per_day=60, every=DAY, longest=10 * DAY, cycle=7 * DAY)
    assert [pace.counted(day * DAY) for day in (1, 6, 7, 8, 14)] == [0, 0, 420, 420, 840]
    late = defined(
        tmp_path,
        "slow: {priority: guardrail, kind: proportion, of: outcome.slow, better: lower, baseline: 0.5, margin: 25pp, window: 3d}",
    )
    waits = rehearse(late, runs=20, processes=1, only=["planned"]).outcomes[0]
    assert (
        waits.days.mean
        > rehearse(defined(tmp_path), runs=20, processes=1, only=["planned"]).outcomes[0].days.mean
    )


def test_what_cannot_be_rehearsed_is_said(tmp_path):
    """A metric that cannot be drawn is left out with its reason; a primary that cannot be is refused."""
    experiment = defined(
        tmp_path,
        "slow: {priority: guardrail, kind: quantile, q: 0.9, of: turn.latency_s, better: lower, margin: 10%}",
    )
    found = rehearse(experiment, runs=4, processes=1, only=["nothing"])
    assert found.left_out == {"slow": "how a quantile varies is told by past units only"}
    bare = tmp_path / "bare.yaml"
    bare.write_text(
        DEFINITION.replace("MORE", "")
        .replace("PLAN", "")
        .replace(", baseline: 0.5, mde: 20pp", ", mde: 20pp")
    )
    with pytest.raises(
        UsageError,
        match=r"^the primary ok cannot be drawn: it has no `baseline`. Declare what it lacks, or rehearse on what was: --past$",
    ):
        rehearse(load_experiment(bare))
    with pytest.raises(
        UsageError,
        match=r"^there is no scenario never; accepted: nothing, planned, opposite, cost broken, each with an --only of its own$",
    ):
        rehearse(defined(tmp_path), runs=1, only=["never"])
    timeless = tmp_path / "timeless.yaml"
    timeless.write_text(
        DEFINITION.replace("MORE", "")
        .replace(", units_per_day: 60 PLAN", "")
        .replace("mde: 20pp", "mde: 20pp, window: 1d")
    )
    with pytest.raises(
        UsageError, match=r"^metrics with a window, and whole cycles, take time: say how many units"
    ):
        rehearse(load_experiment(timeless), runs=1)


def test_without_traffic_nothing_is_said_of_days(tmp_path):
    """A look is taken after each fortieth of the planned units, and days are not estimable."""
    path = tmp_path / "timeless.yaml"
    path.write_text(DEFINITION.replace("MORE", "").replace(", units_per_day: 60 PLAN", ""))
    found = rehearse(load_experiment(path), runs=10, processes=1, only=["planned"])
    assert found.every is None
    assert found.to_dict()["scenarios"][0]["days"] == {
        "not_estimable": "no traffic is given; say --units-per-day"
    }
    assert found.per_look == found.plan.total // 40


def test_regret_is_what_was_lost_on_the_way(tmp_path):
    """Never trying loses the whole effect, serving the better arm at once nothing; the design lies between."""
    planned, opposite = (
        rehearse(defined(tmp_path), runs=30, processes=1, only=[name]).outcomes[0]
        for name in ("planned", "opposite")
    )
    horizon = 90 * 60
    assert planned.regret["control for everyone"] == (pytest.approx(0.2 * horizon), 0.0)
    assert planned.regret["b for everyone, untested"] == (0.0, 0.0)
    assert opposite.regret["control for everyone"] == (0.0, 0.0)
    # A bad arm that is never shipped costs what was served of it while it was tried.
    assert opposite.ships.value == 0.0
    assert opposite.regret["as designed"][0] == pytest.approx(0.2 * opposite.exposed.mean)
    assert 0 < planned.regret["as designed"][0] < 0.2 * horizon
    # A bandit tries both at first, and keeps a twentieth of the units for the worse one.
    for found in (planned, opposite):
        lost, error = found.regret["a bandit instead"]
        assert 0.05 * 0.2 * horizon - 4 * error < lost < 0.15 * 0.2 * horizon


def test_the_command_prints_draws_and_refuses(tmp_path):
    """Text, JSON and a page from one command; what makes no sense is refused with what would be accepted."""
    defined(tmp_path)
    file, page = str(tmp_path / "rehearsed.yaml"), tmp_path / "rehearsal.html"
    run = CliRunner()
    told = run.invoke(app, ["simulate", file, "--runs", "10", "--processes", "1", "--report", str(page)])
    assert told.exit_code == 0, told.output
    assert "False positives: where nothing differs, the primary's boundary was crossed in" in told.output
    assert (
        "Lost within 5,400 units, against the better arm from the first one on, in ok added up" in told.output
    )
    written = page.read_text(encoding="utf-8")
    assert "<script" not in written
    assert "Runs that had ended" in written
    # Sentences beside numbers would push those out of sight.
    assert "<li>planned: b: ok better by 0.2.</li>" in written
    found = json.loads(
        run.invoke(app, ["simulate", file, "--runs", "10", "--processes", "1", "--aa", "--json"]).output
    )
    assert [each["scenario"] for each in found["scenarios"]] == ["nothing"]
    assert sum(found["scenarios"][0]["words"].values()) == 10
    for wrong, said in (
        (["--every", "often"], "--every often is no length of time; accepted: 12h, 1d, 2w"),
        (["--icc", "0.1"], "--icc is about units of one cluster; say how many those are: --cluster-size"),
        (["--past", "source"], "names no table; add `source:` to the definition"),
        (["--runs", "0"], "0 runs show nothing; accepted: 1 or more"),
        (
            ["--aa", "--only", "planned"],
            "--aa is one scenario, and --only names others; leave one of them out",
        ),
        (["--report", "x.pdf"], "a rehearsal's report is a page, and x.pdf is none; accepted: NAME.html"),
        (["--past", "log", "--arm", "c"], "there is no variant 'c'; accepted: control, b"),
    ):
        refused = run.invoke(app, ["simulate", file, *wrong])
        assert said in str(refused.exception), refused.output


def test_a_scenario_touches_its_arm_alone(tmp_path):
    """Of two treatments the second is like control in every scenario."""
    path = tmp_path / "three.yaml"
    path.write_text(
        DEFINITION.replace("MORE", "")
        .replace("PLAN", "")
        .replace("b: {config: {x: 2}}", "b: {config: {x: 2}}, c: {config: {x: 3}}")
    )
    found = rehearse(load_experiment(path), runs=30, processes=1, only=["planned"]).outcomes[0]
    assert found.scenario == Scenario("planned", "b: ok better by 0.2", "b", {"ok": 0.2})
    assert found.ships.value > 0.5


def test_past_units_of_the_mail_test_are_rehearsed(tmp_path):
    """Real letters, of which one in fifty-six is answered: drawn again they answer as often, and clusters need no icc."""
    file = Path(__file__).parents[2] / "examples" / "real" / "charity_mail.yaml"
    told = CliRunner().invoke(
        app,
        [
            "simulate",
            str(file),
            "--past",
            "source",
            "--runs",
            "4",
            "--processes",
            "1",
            "--only",
            "planned",
            "--json",
        ],
    )
    assert told.exit_code == 0, told.output
    found = json.loads(told.output)
    assert found["population"].startswith("16,687 past units of control in ")
    assert found["scenarios"][0]["effects"] == {"gave": 0.004}
    refused = CliRunner().invoke(app, ["simulate", str(file), "--past", "source", "--icc", "0.1"])
    assert "past units are as alike as they were" in str(refused.exception)


BANDIT = """
name: played
hypothesis: The better one is found on the way.
changes: [config]
method: bandit
pins: required
unit: {type: user, from: header:x-user}
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}}
metrics:
  ok: {priority: primary, kind: proportion, of: outcome.ok, better: higher, baseline: 0.5, mde: 20pp, window: 1h}
  cost: {priority: guardrail, kind: mean, of: turn.cost_usd, better: lower, baseline: 0.02, spread: 0.01, margin: 25%}
  slow: {priority: guardrail, kind: quantile, q: 0.9, of: turn.latency_s, better: lower, margin: 10%}
bandit: {every: 12h}
plan: {units_per_day: 100}
"""


def test_a_bandit_is_rehearsed_with_shares_that_follow_rewards(tmp_path):
    """The better arm gets more of the units, less is lost than by even shares, and the worse one is hardly played."""
    path = tmp_path / "played.yaml"
    path.write_text(BANDIT)
    found = rehearse(load_experiment(path), runs=12, processes=1, every=2 * DAY, only=["planned", "opposite"])
    assert found.method == "bandit"
    assert found.left_out == {"slow": "how a quantile varies is told by past units only"}
    planned, opposite = found.outcomes
    assert planned.exposed.mean > 0.6 * planned.units.mean
    assert opposite.exposed.mean < 0.4 * opposite.units.mean
    for outcome in found.outcomes:
        lost, error = outcome.regret["as designed"]
        assert lost + 4 * error < outcome.regret["even shares"][0]
        assert "a bandit instead" not in outcome.regret


def test_a_bandit_is_measured_by_epoch_as_a_whole(tmp_path):
    """What the epochs hold adds up to what the whole holds, and every unit stands in the arm it was given."""
    path = tmp_path / "played.yaml"
    path.write_text(BANDIT)
    experiment = load_experiment(path)
    experiment = replace(experiment, metrics=experiment.metrics[:2])
    pace = Pace(per_day=400, every=DAY, longest=4 * DAY)
    nothing = Scenario("nothing", "nothing differs", "b", {})
    play = _Play.begun(experiment, Assumed(experiment), nothing, pace, np.random.default_rng(3))
    for half_day in range(1, 9):
        play.come(half_day * DAY / 2)
        play.weigh(half_day * DAY / 2)
    found = play.measured(4 * DAY)
    assert sum(play.served) == 1600
    assert len(found.epochs) == 9
    for arm in ("control", "b"):
        assert sum(epoch.units[arm] for epoch in found.epochs) == found.units[arm]
        for metric in ("ok", "cost"):
            whole = found.tallies[metric][arm]
            parts = [epoch.tallies[metric][arm] for epoch in found.epochs]
            assert sum(part.units for part in parts) == whole.units
            assert sum(part.immature for part in parts) == whole.immature
            together = sum((part.moments for part in parts), Moments.zero())
            assert together.mean == pytest.approx(whole.moments.mean, rel=1e-12)
            assert together.m2 == pytest.approx(whole.moments.m2, rel=1e-9)
    # Those of the last hour are pending in what is played for, and in nothing else.
    assert sum(found.tallies["ok"][arm].immature for arm in ("control", "b")) == 17
