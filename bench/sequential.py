"""What looking costs and saves (no timing needed), and the time taken by the answers made while somebody waits."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from pairs import report

from equipoise.stats.estimate import Estimate
from equipoise.stats.looks.after_stopping import after_stopping
from equipoise.stats.looks.classic_boundaries import pocock_boundaries
from equipoise.stats.looks.futility import futility_design
from equipoise.stats.looks.sequential import boundaries, inflation
from equipoise.stats.looks.spending import hwang_shih_decani, obrien_fleming


def equal(looks: int) -> list[float]:
    return [look / looks for look in range(1, looks + 1)]


def cpu(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(6):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return statistics.median(taken[1:])


def main() -> None:
    for name, spending in (
        ("obrien_fleming", obrien_fleming),
        ("hwang_shih_decani -4", hwang_shih_decani(-4)),
    ):
        design = inflation(equal(14), 0.05, 0.8, spending)
        report(
            f"14 looks, {name}, power .8, over the fixed test",
            {"maximum": design.factor, "average_at_design_effect": design.factor * design.expected},
        )
    for sides, alpha in ((1, 0.025), (2, 0.05)):
        for binding in (False, True):
            plan = futility_design(
                equal(5), alpha, 0.8, obrien_fleming, obrien_fleming, sides=sides, binding=binding
            )
            report(
                f"5 looks with futility, {sides}-sided {alpha}, {'binding' if binding else 'non-binding'}",
                {
                    "maximum": plan.factor,
                    "average_under_null": plan.average_null,
                    "average_at_design_effect": plan.average_design,
                    "type_one_error_if_obeyed": plan.type_one_error,
                },
            )
    seen = Estimate(value=2.5, standard_error=1.0, low=0.5, high=4.5, level=0.95, method="z")
    for looks in (5, 14, 100):
        ts = equal(looks)
        limits, made = boundaries(ts, 0.05, obrien_fleming), looks * 4 // 5
        report(
            f"{looks} looks",
            {
                "boundaries_cpu_s": cpu(lambda ts=ts: boundaries(ts, 0.05, obrien_fleming)),
                "exact_pocock_cpu_s": cpu(lambda ts=ts: pocock_boundaries(ts, 0.05)),
                "after_stopping_cpu_s": cpu(
                    lambda ts=ts, limits=limits, made=made: after_stopping(seen, ts[:made], limits[:made])
                ),
            },
        )


if __name__ == "__main__":
    main()
