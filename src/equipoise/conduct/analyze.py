"""Analyze: the read-out of a table that somebody else filled, by the same rules as a look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from equipoise.analysis.analysing import analyse
from equipoise.design.plan import plan
from equipoise.experiment.definition import Experiment
from equipoise.measurement.measuring import measure_table
from equipoise.measurement.warehouse.connecting import Variable
from equipoise.stats.estimate import NotEstimable
from equipoise.verdict.analysis import Analysis
from equipoise.verdict.deciding import decide

__all__ = ["analyze"]


def analyze(
    experiment: Experiment | str | Path,
    table: Any | None = None,
    *,
    closing: bool | None = None,
    variable: Variable | None = None,
) -> Analysis:
    """Analyse a table of assignments and outcomes.

    `experiment` is a definition or its path; `table` an Arrow table, a pandas or Polars frame, a DuckDB
    relation, an Ibis table of any engine, or the path of a CSV, JSON-lines or Parquet file, and None for the
    one named by `source:`. Without `source:` in the definition the table has columns `unit`, `variant`,
    perhaps `time`, and one called like each quantity.

    `closing` says that no more data will come, so that all alpha may be spent; None means that a design
    with a single look is complete as it stands, and one with several is read by the information it holds.
    `variable` tells the environment's variables (`os.environ.get`), where `source.connection` names one.
    Nothing is recorded: to be held to registered looks, register the experiment and use its log.

    Raises DefinitionError, DataError, or MissingExtraError where the analysis extra is not installed.
    """
    if not isinstance(experiment, Experiment):
        from equipoise.experiment.reading import load_experiment

        experiment = load_experiment(experiment)
    measured = measure_table(experiment, table, variable=variable)
    single = len(experiment.plan.looks) == 1
    drawn = plan(experiment)
    units = NotEstimable("no metric could be sized") if drawn.total is None else float(drawn.total)
    findings = analyse(
        experiment,
        measured,
        maximum=units if experiment.method == "bandit" else drawn.information,
        units=drawn.total,
        closing=single if closing is None else closing,
    )
    return Analysis(findings=findings, verdict=decide(findings))
