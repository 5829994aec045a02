"""One rehearsal run of two rankers: people search and click lists of both, and that is looked at until it ends."""

from __future__ import annotations

import numpy as np

from equipoise.conduct.rehearsal.preparing import Searches
from equipoise.conduct.rehearsal.run import Ending, Goal, Pace, Scenario, followed
from equipoise.experiment.definition import Experiment
from equipoise.measurement.rehearsed.shown import DrawnLists

__all__ = ["run_lists"]


def run_lists(
    experiment: Experiment,
    searches: Searches,
    scenario: Scenario,
    pace: Pace,
    goal: Goal,
    *,
    rng: np.random.Generator,
) -> Ending:
    """One run from the first query to a final verdict, by the same analysis and rule as a real one; units are queries."""
    shown = searches.draw(pace.units(pace.longest), scenario.effects, rng)
    return followed(experiment, DrawnLists(experiment, shown), scenario, pace, goal)
