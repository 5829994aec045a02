"""A rehearsal under odd conditions: clusters, other ways to start processes, an end from outside, numbers without measure."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from equipoise.conduct.rehearsal.losses import losses
from equipoise.conduct.rehearsal.run import DAY, Ending, Pace, Scenario, changed
from equipoise.conduct.rehearsal.scenarios import scenarios
from equipoise.conduct.rehearsal.workers import carried_out
from equipoise.conduct.rehearse import rehearse
from equipoise.errors import UsageError
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import load_experiment, read_canonical
from equipoise.measurement.rehearsed.drawn import Drawn
from equipoise.measurement.rehearsed.population import Assumed, Crowd, Past, Readings, past_units_of_table
from equipoise.stats.cases.binomial import clopper_pearson_interval

DEFINITION = """
name: attacked
hypothesis: It bears what is done to it.
changes: [config]
unit: {type: conversation, from: header:x-id}
CLUSTER
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}}
metrics:
  ok: {priority: primary, kind: proportion, of: outcome.ok, better: higher, baseline: 0.5, mde: 10pp}
"""


def defined(folder: Path, *, cluster: str = "", more: str = "") -> Experiment:
    path = folder / "attacked.yaml"
    path.write_text(DEFINITION.replace("CLUSTER", cluster) + more, encoding="utf-8")
    return load_experiment(path)


def test_clusters_that_are_not_declared_are_not_known(tmp_path):
    """The measurement takes units for independent where no `cluster` is declared, alike as they may be."""
    crowd = Crowd(40, {"ok": np.tile([0.0, 1.0], 20)}, clusters=np.arange(40) // 4)
    arms = np.arange(40) % 2
    plain = Drawn(defined(tmp_path), crowd, arms).at(40, {"ok": 40}, 0.0)
    assert plain.clusters is None
    assert plain.tallies["ok"]["b"].pairs is None
    declared = Drawn(defined(tmp_path, cluster="cluster: team"), crowd, arms).at(40, {"ok": 40}, 0.0)
    assert declared.clusters == {"control": 10, "b": 10}


def test_what_ignoring_clusters_costs_is_seen(tmp_path):
    """Where whole clusters get one arm, an A/A test crosses as often as their design effect says.

    Ten units with an intraclass correlation of 0.05 vary by 1.45 of what is taken for granted, so that |z| > 1.96 in 10.4 %
    of the runs (|z| > 1.96 / √1.45); declared, in 5 %. With 600 runs each, a false alarm in 1 of 10,000 on either side.
    """
    shares = {}
    for cluster, expected in (("", 0.104), ("cluster: team", 0.05)):
        experiment = defined(tmp_path, cluster=cluster)
        found = rehearse(
            experiment,
            Assumed(experiment, icc=0.05, cluster_size=10),
            runs=600,
            seed=5,
            units_per_day=400,
            only=["nothing"],
            whole_clusters=True,
            processes=1,
        )
        shares[cluster] = found.outcomes[0].crossed
        wide = clopper_pearson_interval(round(shares[cluster].value * 600), 600, level=0.9998)
        assert wide.low < expected < wide.high, cluster
    assert shares[""].value > shares["cluster: team"].value
    said = rehearse(
        defined(tmp_path), Assumed(defined(tmp_path), 0.05, 10), runs=1, units_per_day=400, processes=1
    )
    assert said.notes == (
        "the definition has no `cluster`, so that units of one cluster count as if they were not alike",
    )


def test_a_read_out_that_is_invalid_until_the_end_is_counted_as_that(tmp_path):
    """Whole clusters of four hundred, taken for units that were drawn by themselves: the sample ratio fails, and nothing is shown."""
    experiment = defined(tmp_path, more="plan: {looks: [0.1, 1.0]}\n")
    found = rehearse(
        experiment,
        Assumed(experiment, icc=0.1, cluster_size=400),
        runs=20,
        units_per_day=800,
        only=["nothing"],
        whole_clusters=True,
        processes=1,
    ).outcomes[0]
    assert found.words["invalid"] > 3
    assert sum(found.words.values()) == 20
    assert found.ended[-1][1] == pytest.approx(
        1.0 - (found.words["invalid"] + found.words["keep running"]) / 20
    )


def test_whole_clusters_need_clusters(tmp_path):
    """Of units without clusters none can be given an arm as a whole."""
    with pytest.raises(
        UsageError,
        match=r"^units that are drawn have no clusters; say --cluster-size, or draw past units where `cluster:` is declared$",
    ):
        rehearse(defined(tmp_path), runs=1, units_per_day=400, whole_clusters=True, processes=1)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"seed": -1}, "a seed is 0 or above, and this is -1"),
        ({"processes": 0}, "0 processes do nothing; accepted: 1 or more"),
        ({"processes": -2}, "-2 processes do nothing; accepted: 1 or more"),
        (
            {"every": 1.0},
            (
                "a run would have 345,600 looks, one each 1 s, and a rehearsal takes 10,000 at most; say a longer time "
                "between them: --every"
            ),
        ),
    ],
)
def test_numbers_without_measure_are_refused(tmp_path, given, says):
    """What would not come to an end, or mean nothing, is refused before anything is drawn."""
    with pytest.raises(UsageError, match=f"^{says}$"):
        rehearse(defined(tmp_path), runs=1, units_per_day=388, **given)


def test_a_design_that_no_memory_holds_is_refused(tmp_path):
    """A hundred million units a run are more than anybody waits for."""
    path = tmp_path / "large.yaml"
    path.write_text(DEFINITION.replace("CLUSTER", "").replace("10pp", "0.03pp"), encoding="utf-8")
    with pytest.raises(
        UsageError, match=r"^a run would draw [\d,]+ units, and a rehearsal takes 20,000,000 at most;"
    ):
        rehearse(load_experiment(path), runs=1, units_per_day=1e6)


def test_runs_are_sent_to_processes_that_begin_anew(tmp_path):
    """Where processes are not forked, everything they need is sent, and what they do is the same."""
    experiment = defined(tmp_path)
    sent = ForkingPickler.loads(ForkingPickler.dumps(experiment))
    assert sent == experiment
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        two = rehearse(experiment, runs=30, units_per_day=400, only=["planned"], processes=2)
    finally:
        multiprocessing.set_start_method(before, force=True)
    one = rehearse(experiment, runs=30, units_per_day=400, only=["planned"], processes=1)
    assert one.to_dict() == two.to_dict()


class Killed:
    """Runs whose process is ended from outside."""

    largest = 1

    def between(self, first, last):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_is_said():
    """Memory that runs out ends in a sentence, and nobody waits for what will never come."""
    with pytest.raises(
        UsageError,
        match=r"^a process at work was ended from outside, as happens when memory runs out; take fewer of them \(--processes "
        r"1\), or rehearse a smaller design$",
    ):
        carried_out([Killed()], 60, 2, lambda *_: None)
    assert multiprocessing.active_children() == []


@pytest.mark.skipif(sys.platform != "linux", reason="who the children are is read from /proc")
def test_breaking_it_off_leaves_nothing_behind(tmp_path):
    """After an interruption there is no process, no page, no traceback."""
    defined(tmp_path)
    command = [sys.executable, "-m", "equipoise", "simulate", "attacked.yaml", "--units-per-day", "20"]
    running = subprocess.Popen(
        [*command, "--runs", "100000", "--processes", "2", "--report", "page.html"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    while running.poll() is None and children.exists() and len(children.read_text().split()) < 2:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate()
    assert running.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert not (tmp_path / "page.html").exists()
    with pytest.raises(ProcessLookupError):
        os.killpg(running.pid, 0)


INTERRUPTED = """
import os, signal, time
from equipoise.conduct.rehearsal.workers import carried_out

class Endless:
    largest = 1

    def between(self, first, last):
        while os.getppid() == parent:
            time.sleep(0.05)

parent = os.getpid()
os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGINT))
try:
    carried_out([Endless()], 60, 2, lambda *_: None)
except KeyboardInterrupt:
    print("heard")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are begun otherwise elsewhere")
def test_an_interruption_while_processes_are_begun_is_heard():
    """Python drops what is raised in a function that it calls at a fork: there an interruption waits."""
    found = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=True, timeout=120
    )
    assert (found.stdout, found.stderr) == ("heard\n", "")


def test_what_is_lost_is_added_up_by_hand(tmp_path):
    """Burn-in is served, too; what is beyond the horizon is nobody's loss."""
    experiment = defined(tmp_path)
    scenario = Scenario("opposite", "b: worse", "b", {"ok": -0.1})
    pace = Pace(100, DAY, 10 * DAY)
    held = Ending("hold", None, 4 * DAY, 400, (180, 220), 1, False, (1.0, 0.0))
    shipped = Ending("ship", "b", 4 * DAY, 400, (200, 200), 1, True, (0.0, 1.0), once="b")
    common = {"once": 300, "before": 100.0, "seed": (0,)}
    found = losses(experiment, Assumed(experiment), scenario, pace, [held, shipped], horizon=1000, **common)
    # 220 and half of the burn-in; 200, half of the burn-in, and all of the 500 that are left.
    assert found["as designed"][0] == pytest.approx(0.1 * ((220 + 50) + (200 + 50 + 500)) / 2)
    # 150 and half of the burn-in; the same, and all of the 600 that are left.
    assert found["one look at the end"][0] == pytest.approx(0.1 * (200 + (200 + 600)) / 2)
    assert found["b for everyone, untested"] == (pytest.approx(100.0), 0.0)
    soon = losses(experiment, Assumed(experiment), scenario, pace, [held, shipped], horizon=250, **common)
    assert soon["as designed"][0] == pytest.approx(0.1 * (270 / 2 + 250 / 2) / 2)


def test_what_a_rate_cannot_do_is_not_said_of_it(tmp_path):
    """A planned effect beyond 1 is said as far as it goes; an opposite of nothing is no scenario; nothing at all is refused."""
    experiment = defined(tmp_path)

    def past(ones: int) -> Past:
        return Past(Crowd(20, {"ok": (np.arange(20) < ones).astype(float)}), "20 past units of control")

    near = {each.name: each for each in scenarios(experiment, past(19))}
    assert near["planned"].effects["ok"] == pytest.approx(0.05)
    assert near["planned"].says == "b: ok better by 0.05"
    assert near["opposite"].effects["ok"] == pytest.approx(-0.1)
    assert [each.name for each in scenarios(experiment, past(0))] == ["nothing", "planned"]
    with pytest.raises(
        UsageError,
        match=r"^ok comes to 1 among 20 past units of control, from where no planned effect is possible; draw other units$",
    ):
        scenarios(experiment, past(20))


def test_readings_around_zero_are_moved_and_not_multiplied(tmp_path):
    """A quantile that comes to 0 has no multiple that is more."""
    more = "  half: {priority: guardrail, kind: quantile, q: 0.5, of: turn.latency_s, better: lower, margin: 1}\n"
    experiment = defined(tmp_path, more=more)
    crowd = Crowd(2, {}, readings={"half": Readings(np.array([0.0, 0.0, 3.0]), np.array([0, 2, 3]))})
    after = changed(
        crowd, experiment.metric("half"), np.array([True, False]), 2.0, 0.0, np.random.default_rng(1)
    )
    np.testing.assert_array_equal(after.readings["half"].values, [2.0, 2.0, 3.0])


def test_the_design_is_that_of_the_whole_definition(tmp_path):
    """What is left out of the runs is left in the plan: the design that is rehearsed is the one that is registered."""
    more = "  paid: {priority: guardrail, kind: mean, of: outcome.paid, better: higher, baseline: 1, spread: 3, margin: 10%}\n"
    experiment = defined(tmp_path, more=more)
    without = Past(
        Crowd(20, {"ok": np.tile([0.0, 1.0], 10)}), "20 past units", {"paid": "no unit has a value of it"}
    )
    found = rehearse(experiment, without, runs=1, units_per_day=3_000, only=["nothing"], processes=1)
    assert found.notes == ("20 past units hardly show how units differ",)
    assert found.plan.binding == "paid"
    assert replace(found.plan, units_per_day=None).total > 10_000


def test_a_rule_can_ship_without_a_guardrail_that_is_left_out(tmp_path):
    """What a rule asks by name of what cannot be drawn is taken for met, and said; what it fears of it never comes."""
    more = """  slow: {priority: guardrail, kind: quantile, q: 0.9, of: turn.latency_s, better: lower, margin: 10%}
verdict:
  - {when: {health: invalid}, then: invalid}
  - {when: {slow: breached}, then: roll back}
  - {when: {primary: better, guardrails: not_breached, slow: held}, then: ship}
  - {when: {look: last}, then: hold}
  - {then: keep running}
"""
    found = rehearse(defined(tmp_path, more=more), runs=20, units_per_day=400, only=["planned"], processes=1)
    assert found.outcomes[0].ships == found.outcomes[0].crossed
    assert found.outcomes[0].ships.value > 0.5
    assert list(found.left_out) == ["slow"]
    assert found.notes == ("what the rule asks of slow to ship is taken for met",)


def test_a_ratio_to_nothing_is_left_out(tmp_path):
    """Past units whose denominators are all 0 have no ratio to draw."""
    more = "  each: {priority: guardrail, kind: ratio, of: outcome.paid, per: outcome.tries, better: lower, margin: 10%}\n"
    rows = {
        "unit": [f"u{i}" for i in range(40)],
        "variant": ["control", "b"] * 20,
        "outcome.ok": [float(i % 3 == 0) for i in range(40)],
        "outcome.paid": [1.0] * 40,
        "outcome.tries": [0.0] * 40,
    }
    past = past_units_of_table(defined(tmp_path, more=more), pa.table(rows))
    assert past.left_out == {"each": "what it is divided by comes to nothing among the units of control"}
    assert list(past.crowd.values) == ["ok"]


def test_why_it_falls_short_is_told(tmp_path):
    """Where units tell less than the plan takes for granted, that is why; a bad arm at the margin stands beside its error."""
    experiment = defined(tmp_path, cluster="cluster: team")
    alike = rehearse(
        experiment,
        Assumed(experiment, icc=0.5, cluster_size=10),
        runs=20,
        units_per_day=400,
        only=["planned"],
        whole_clusters=True,
        processes=1,
    )
    assert alike.promises()[0].endswith(
        "80% is what the binding question was planned with. That is less: units that are drawn tell less of it than the plan "
        "takes for granted."
    )
    path = tmp_path / "margin.yaml"
    path.write_text(
        DEFINITION.replace("CLUSTER", "").replace("mde: 10pp", "margin: 10pp")
        + "verdict:\n  - {when: {health: invalid}, then: invalid}\n"
        "  - {when: {primary: non_inferior, guardrails: held}, then: ship}\n"
        "  - {when: {look: last}, then: hold}\n  - {then: keep running}\n",
        encoding="utf-8",
    )
    margin = rehearse(load_experiment(path), runs=20, units_per_day=400, processes=1)
    assert [each.scenario.name for each in margin.outcomes] == ["nothing", "at the margin"]
    assert margin.promises()[0].endswith(" of the runs shipped that arm, since not being worse is enough.")
    said = margin.promises()[1]
    assert said.startswith("A bad arm: b: ok worse by its margin of 0.1; ")
    assert said.endswith(" of the runs shipped it, and 2.5% are registered.")


@pytest.mark.parametrize("asked", [{"population": (0.1, 25)}, {"whole_clusters": True}])
def test_clusters_of_randomised_clusters_are_not_drawn(asked):
    """A unit is a cluster already: what its readings have in common is in the plan, and drawn from there."""
    teams = read_canonical(
        {
            "name": "teams",
            "hypothesis": "h.",
            "unit": {"type": "cluster"},
            "changes": ["config"],
            "variants": {"control": {"config": {"n": 1}}, "treatment": {"config": {"n": 2}}},
            "metrics": {
                "thumbs": {"priority": "primary", "per_unit": "mean", "baseline": 0.6, "mde": 0.1},
            },
            "plan": {"clusters": {"icc": 0.1, "size": 25, "size_cv": 0.5}, "units_per_day": 20},
        }
    )
    if "population" in asked:
        asked = {"population": Assumed(teams, *asked["population"])}
    with pytest.raises(UsageError) as refused:
        rehearse(teams, runs=1, processes=1, **asked)
    assert str(refused.value) == (
        "a unit is a whole cluster here, and clusters of clusters are no question of this design; how alike the readings "
        "of one are is said in the file: `plan: {clusters: {icc: 0.05, size: 20, size_cv: 0.6}}`. Leave --whole-clusters, "
        "--cluster-size and --icc out"
    )
    found = rehearse(teams, runs=2, processes=1, only=["nothing"])
    assert (found.counted, found.length[3]) == ("clusters", "clusters of that arm (9 of 10 within)")
