"""Evaluate a policy on a log of another one: what it would have earned, from a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from equipoise.analysis.off_policy import Evaluation, evaluate
from equipoise.measurement.policies import UNIFORM, LoggedColumns, measure_policy

__all__ = ["evaluate_policy"]


def evaluate_policy(
    log: str | Path | Any,
    policy: str | Path | Any = UNIFORM,
    *,
    action: str,
    probability: str = "probability",
    reward: str = "reward",
    target: str = "probability",
    context: tuple[str, ...] = (),
    cluster: str | None = None,
    level: float = 0.95,
    folder: str = ".",
) -> Evaluation:
    """What a policy would have earned in a log of what another one played.

    `log` is a table (a path, an Arrow table, a pandas or Polars frame) with a row for each play: the `action`, the
    `probability` it was played with, the `reward`, the columns of the `context` in which it was chosen. `policy` is a table
    with a row for each action in each context and its probability in `target`; or `uniform`, every action alike. Rows of
    one `cluster` belong together.

    Raises DataError for tables that are not as said, UsageError for a level outside (0, 1).
    """
    columns = LoggedColumns(
        action=action,
        probability=probability,
        reward=reward,
        target=target,
        context=context,
        cluster=cluster,
    )
    sums = measure_policy(log, policy, columns, folder=folder)
    return evaluate(sums, reward=reward, clustered=cluster is not None, level=level)
