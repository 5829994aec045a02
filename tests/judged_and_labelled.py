"""Conversations that a judge reads and people label: what the tests of a judge's metric stand on."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from equipoise.clock import ManualClock
from equipoise.conduct.register import register
from equipoise.events.facts import Exposure, Fact, Label, Score, Turn
from equipoise.events.log import MemoryLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import load_experiment
from equipoise.stats.cross_moments import CrossMoments
from equipoise.stats.estimate import Estimate
from equipoise.stats.judges.corrected_totals import JudgedTotals

TEXT = """
name: judged
hypothesis: People say whether the judge is right.
changes: [config]
unit: {type: conversation}
CLUSTER
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}}
metrics:
  polite: {priority: primary, kind: mean, of: score.polite, better: higher, spread: 0.5, mde: 0.1METRIC}
AUDIT
"""


def experiment(folder: Path, *, metric: str = "", cluster: str = "", audit: str = "") -> Experiment:
    path = folder / "judged.yaml"
    online = f"online_judge: {{sample: 20%, audit: {audit}}}" if audit else ""
    path.write_text(
        TEXT.replace("METRIC", metric).replace("CLUSTER", cluster).replace("AUDIT", online), encoding="utf-8"
    )
    return load_experiment(path)


class World:
    """Conversations of a few turns; a judge reads some turns and is kind to b, people label some of those."""

    def __init__(self, *, units: int = 300, drawn: float = 0.5, asked: float = 0.5, seed: int = 5) -> None:
        rng = random.Random(seed)
        self.facts: list[Fact] = []
        self.turns: list[tuple[str, str, str, int, float | None, float | None]] = []
        for n in range(units):
            arm, unit, team = ("control", "b")[n % 2], f"c{n}", f"team {n // 6}"
            self.facts.append(
                Exposure(
                    experiment="judged",
                    happened=float(n),
                    digest="",
                    unit=unit,
                    unit_type="conversation",
                    variant=arm,
                    probability=0.5,
                    reason="assigned",
                    attributes={"team": team},
                )
            )
            mood, length = rng.random(), rng.randint(1, 4)
            for k in range(length):
                trace = f"{unit}-{k}"
                self.facts.append(
                    Turn(
                        experiment="judged",
                        happened=n + 0.1,
                        unit=unit,
                        variant=arm,
                        reason="assigned",
                        trace=trace,
                    )
                )
                good = float(rng.random() < 0.4 + 0.4 * mood)
                kind = float(good or rng.random() < (0.6 if arm == "b" else 0.1))
                scored, labelled = rng.random() < drawn, rng.random() < asked
                if scored:
                    self.facts.append(
                        Score(
                            experiment="judged",
                            happened=n + 0.2,
                            unit=unit,
                            name="polite",
                            value=kind,
                            evaluator="judge 1",
                            trace=trace,
                            probability=drawn,
                        )
                    )
                if scored and labelled:
                    self.facts.append(
                        Label(
                            experiment="judged",
                            happened=n + 500.0,
                            name="polite",
                            rater="ann",
                            item=trace,
                            trace=trace,
                            unit=unit,
                            value=good,
                            probability=drawn * asked,
                        )
                    )
                self.turns.append(
                    (
                        arm,
                        unit,
                        team,
                        length,
                        kind if scored else None,
                        good if scored and labelled else None,
                    )
                )
        self.drawn, self.asked = drawn, asked

    def totals(self, arm: str, *, by_team: bool = False, last: int | None = None) -> JudgedTotals:
        """The five sums of each unit (or team) of an arm, added up turn by turn; up to the unit of a number."""
        sums = self._sums(arm, by_team=by_team, last=last)
        mine = [turn for turn in self.turns if turn[0] == arm and (last is None or int(turn[1][1:]) <= last)]
        return JudgedTotals(
            CrossMoments.of(*np.array(list(sums.values())).T),
            sum(turn[4] is not None for turn in mine),
            sum(turn[5] is not None for turn in mine),
        )

    def shared(self, arm: str) -> CrossMoments:
        """The five sums of each team that is in control and in another arm, of control and then of that."""
        control, other = (self._sums(each, by_team=True) for each in ("control", arm))
        both = [np.concatenate((control[team], other[team])) for team in control if team in other]
        return CrossMoments.of(*np.array(both).T)

    def _sums(self, arm: str, *, by_team: bool, last: int | None = None) -> dict[str, np.ndarray]:
        told = [turn for turn in self.turns if last is None or int(turn[1][1:]) <= last]
        sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(5))
        for of, unit, team, length, score, said in told:
            if of != arm or score is None:
                continue
            w = 1.0 / (self.drawn * length)
            v = w / self.asked
            own = [w * score, w, 0.0, 0.0, 0.0]
            if said is not None:
                own[2:] = [v * said, v, v * score]
            sums[team if by_team else unit] += own
        return sums


def logged(design: Experiment, facts: list[Fact]) -> MemoryLog:
    log = MemoryLog(ManualClock(2000.0))
    register(log, design, by="ann")
    log.append(
        [replace(fact, digest=design.digest) if isinstance(fact, Exposure) else fact for fact in facts]
    )
    return log


def estimated(result: object) -> Estimate:
    assert isinstance(result, Estimate)
    return result
