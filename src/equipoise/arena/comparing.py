"""Two runs made already, side by side: the same measures on the same cases, with paired intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from equipoise.arena.runs import Arm, KeptRun
from equipoise.errors import DataError
from equipoise.stats.cases.case_means import mean_over_cases
from equipoise.stats.cases.pass_rates import difference_of_pass_rates
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["Compared", "Comparing", "compare_runs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One measure of one arm in both runs, on the cases that both scored: second minus first.

    `gained` and `lost` list the cases on which the second run is better and worse, by how much, most first.
    """

    arm: str
    measure: str
    cases: int
    only_first: int
    only_second: int
    first: float
    second: float
    difference: Estimate | NotEstimable
    gained: tuple[tuple[str, float], ...]
    lost: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparing:
    """Everything two runs have in common; `apart` says what they have not."""

    first: KeptRun
    second: KeptRun
    level: float
    compared: tuple[Compared, ...]
    apart: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, without texts."""
        return {
            "first": {"file": self.first.origin, "tool": self.first.tool, "sha256": self.first.digest},
            "second": {"file": self.second.origin, "tool": self.second.tool, "sha256": self.second.digest},
            "level": self.level,
            "compared": [
                asdict(each)
                | {
                    "difference": {"not_estimable": each.difference.reason}
                    if isinstance(each.difference, NotEstimable)
                    else asdict(each.difference)
                }
                for each in self.compared
            ],
            "apart": list(self.apart),
        }


def compare_runs(first: KeptRun, second: KeptRun, *, level: float = 0.95) -> Comparing:
    """Compare arms of one name, or the only arms where each run has one.

    One file with two arms compared with itself compares the two. Raises DataError where nothing is
    common to both.
    """
    pairs = _pairs(first, second)
    compared: list[Compared] = []
    apart: list[str] = []
    for name, ours, theirs in pairs:
        for measure in dict.fromkeys([*ours.values, *theirs.values]):
            if measure not in ours.values or measure not in theirs.values:
                there = first.origin if measure in ours.values else second.origin
                apart.append(f"{name}: '{measure}' stands only in {there}")
                continue
            found = _compare(name, measure, ours, theirs, level)
            if found is None:
                apart.append(f"{name}: no case has '{measure}' in both runs")
            else:
                compared.append(found)
    if not compared:
        raise DataError(
            f"{first.origin} and {second.origin} have no measure of a common case: "
            f"{'; '.join(apart[:5]) or 'nothing is scored'}. Compare runs on the same cases"
        )
    return Comparing(first=first, second=second, level=level, compared=tuple(compared), apart=tuple(apart))


def _pairs(first: KeptRun, second: KeptRun) -> list[tuple[str, Arm, Arm]]:
    if first.digest == second.digest and len(first.arms) > 1:
        base = first.arms[0]
        return [(f"{other.name} against {base.name}", base, other) for other in first.arms[1:]]
    if len(first.arms) == 1 and len(second.arms) == 1:
        ours, theirs = first.arms[0], second.arms[0]
        name = ours.name if ours.name == theirs.name else f"{theirs.name} against {ours.name}"
        return [(name, ours, theirs)]
    theirs_by_name = {arm.name: arm for arm in second.arms}
    common = [(arm.name, arm, theirs_by_name[arm.name]) for arm in first.arms if arm.name in theirs_by_name]
    if not common:
        raise DataError(
            f"{first.origin} has the arms {_listed(first)}, and {second.origin} has {_listed(second)}: none is common. "
            "Give them the same names, or compare runs of one arm each"
        )
    return common


def _listed(run: KeptRun) -> str:
    return ", ".join(arm.name for arm in run.arms)


def _compare(name: str, measure: str, ours: Arm, theirs: Arm, level: float) -> Compared | None:
    before, after = ours.values[measure], theirs.values[measure]
    common = sorted(before.keys() & after.keys())
    if not common:
        return None
    differences = {case: after[case] - before[case] for case in common}
    moved = sorted(differences.items(), key=lambda pair: (-abs(pair[1]), pair[0]))
    return Compared(
        arm=name,
        measure=measure,
        cases=len(common),
        only_first=len(before) - len(common),
        only_second=len(after) - len(common),
        first=sum(before[case] for case in common) / len(common),
        second=sum(after[case] for case in common) / len(common),
        difference=_difference(before, after, common, {**ours.clusters, **theirs.clusters}, level),
        gained=tuple(pair for pair in moved if pair[1] > 0),
        lost=tuple(pair for pair in moved if pair[1] < 0),
    )


def _difference(
    before: Mapping[str, float],
    after: Mapping[str, float],
    common: list[str],
    clusters: Mapping[str, str],
    level: float,
) -> Estimate | NotEstimable:
    """The paired difference: of shares as `difference_of_pass_rates` does it, of anything else as means."""
    codes = [clusters.get(case, case) for case in common]
    together = codes if len(set(codes)) < len(codes) else None
    if all(0.0 <= value <= 1.0 for case in common for value in (before[case], after[case])):
        return difference_of_pass_rates(
            [before[case] for case in common], [after[case] for case in common], together, level=level
        )
    return mean_over_cases([after[case] - before[case] for case in common], together, level=level)
