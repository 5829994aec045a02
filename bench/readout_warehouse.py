"""The full read-out through Ibis on DuckDB against one hand-written DuckDB script doing the same."""

from __future__ import annotations

import resource
import sys
import tempfile
import warnings
from pathlib import Path

import ibis
from pairs import against, report
from readout_turns import DEFINITION, TURNS, by_hand, write_turns

from equipoise.conduct.analyze import analyze
from equipoise.experiment.reading import load_experiment


def main(turns: int = TURNS, pairs: int = 3) -> None:
    # Ibis calls DuckDB as it was before its second version.
    warnings.simplefilter("ignore", DeprecationWarning)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "turns.parquet"
        write_turns(table, turns)
        path = Path(folder) / "e.yaml"
        path.write_text(DEFINITION.format(table=table), encoding="utf-8")
        experiment = load_experiment(path)

        def elsewhere() -> None:
            connection = ibis.duckdb.connect(threads=1)
            analyze(experiment, connection.read_parquet(table))
            connection.disconnect()

        figures = against(elsewhere, lambda: by_hand(table), pairs=pairs)
        figures["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        report(f"full read-out of {turns} turns through Ibis on DuckDB / one hand-written script", figures)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
