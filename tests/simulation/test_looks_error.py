"""The promise of looking early, on the real record: a change without effect is seldom decided about."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from equipoise import load_experiment
from equipoise.analysis.looks import PastLook, look_now
from equipoise.clock import ManualClock
from equipoise.conduct.look import look
from equipoise.conduct.register import register
from equipoise.events.facts import Exposure, Outcome
from equipoise.events.log import MemoryLog

TEXT = """
name: nothing
hypothesis: Nothing differs.
changes: [config]
unit: {type: user}
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}}
metrics: {won: {priority: primary, kind: proportion, of: outcome.won, better: higher, baseline: 0.5, mde: 0.16}}
plan: {alpha: 0.2, looks: [0.25, 0.5, 0.75, 1.0], spending: pocock}
"""


def design(folder: Path):
    path = folder / "nothing.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return load_experiment(path)


def test_looking_daily_at_chosen_moments_keeps_alpha(tmp_path):
    """4,000 walks without effect, looked at at random moments: crossings are 20 % within 4 standard errors.

    The tolerance is 4·sqrt(0.2·0.8/4000) = 2.5 points, so a true 20 % fails one run in 16,000, and the seed is
    fixed. Both sides are checked: crossing far less often would be power thrown away.
    """
    experiment = design(tmp_path)
    rng = np.random.default_rng(20)
    replications, crossed = 4000, 0
    # The boundaries depend on the moments only, so each of a hundred calendars serves forty walks.
    for _ in range(100):
        moments = np.sort(np.append(rng.uniform(0.05, 1.0, 12), [1.0 + rng.uniform(0.0, 0.2)]))
        past: list[PastLook] = []
        for moment in moments:
            state = look_now(experiment, information=float(moment), maximum=1.0, past=past)
            if state.due:
                past.append(PastLook(state.at, state.boundary))
        assert state.final
        times = np.array([each.fraction for each in past])
        limits = np.array([each.boundary for each in past])
        steps = rng.standard_normal((40, len(times))) * np.sqrt(np.diff(times, prepend=0.0))
        z = np.cumsum(steps, axis=1) / np.sqrt(times)
        crossed += int((np.abs(z) >= limits).any(axis=1).sum())
    assert abs(crossed / replications - 0.2) <= 4 * (0.2 * 0.8 / replications) ** 0.5


@pytest.mark.parametrize(
    ("replications", "least", "most"), [(50, 1, 23), pytest.param(400, 50, 113, marks=pytest.mark.long)]
)
def test_on_a_real_log_the_whole_procedure_seldom_decides_about_nothing(tmp_path, replications, least, most):
    """A/A experiments, looked at as they come in: shipped, or held for harm, as often as a count of them with alpha 20 %.

    A binomial count with 0.2 leaves the range at most once in 17,000 runs (3e-5 on each side), and the seed is fixed. Fewer
    would mean that the looks do not spend what they may.
    """
    experiment = design(tmp_path)
    rng = random.Random(5)
    decided = 0
    for _ in range(replications):
        log = MemoryLog(ManualClock(0.0))
        register(log, experiment, by="simulation", clock=ManualClock(0.0))
        unit = 0
        for day in range(40):
            facts = []
            for _ in range(12):
                unit += 1
                common = {"experiment": "nothing", "happened": float(day), "unit": str(unit)}
                facts += [
                    Exposure(
                        **common,
                        digest=experiment.digest,
                        unit_type="user",
                        variant=rng.choice(["control", "b"]),
                        probability=0.5,
                        reason="split",
                    ),
                    Outcome(**common, name="won", value=rng.random() < 0.5),
                ]
            log.append(facts)
            if day % 8 != 7:
                continue
            found = look(log, "nothing", clock=ManualClock(0.0))
            if found.findings.look.final or found.verdict.word in ("ship", "hold"):
                break
        assert found.findings.look.due, "the planned information was not reached"
        decided += found.verdict.word == "ship" or "got worse" in found.verdict.because
    assert least <= decided <= most
