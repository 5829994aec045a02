"""A log of what was played, beside a policy that would have played otherwise: rows → weights → sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equipoise.errors import DataError, nearest
from equipoise.measurement.counting import one
from equipoise.measurement.literals import quoted
from equipoise.measurement.refusals import strays
from equipoise.measurement.tables import connect, open_table
from equipoise.stats.moments import Moments, PairMoments

if TYPE_CHECKING:
    import duckdb

__all__ = ["UNIFORM", "LoggedColumns", "PolicySums", "measure_policy"]

UNIFORM = "uniform"
"""The policy that plays every action of the log alike."""

_FOLDS = 5
_PRIOR_ROWS = 10.0
_ADDS_UP = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedColumns:
    """The names of columns: what was played (`action`), with which `probability`, what it earned, and in which `context`.

    The policy's table has the same action and context columns, and its probability in `target`. `cluster` is what rows
    belong together by, such as the user.
    """

    action: str
    probability: str
    reward: str
    target: str
    context: tuple[str, ...] = ()
    cluster: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySums:
    """What the estimates need, and nothing of any row. Groups are clusters, or rows where there are none.

    `weighted` has w·y beside rows by group, `normalised` w·y beside w, `robust` the doubly robust score beside rows,
    `gained` that score less the reward beside rows, `played` the reward beside rows, `weights_by_group` w beside rows.
    `weights` are those of rows. `predicted` is the mean of the model's predictions for the policy. `unplayed` is the share
    of its plays of which the log has no row.
    """

    source: str
    policy: str
    weights: Moments
    largest: float
    weighted: PairMoments
    normalised: PairMoments
    robust: PairMoments
    gained: PairMoments
    played: PairMoments
    weights_by_group: PairMoments
    predicted: float
    unplayed: float
    actions: int


def measure_policy(
    log: str | Path | Any, policy: str | Path | Any, columns: LoggedColumns, *, folder: str = "."
) -> PolicySums:
    """Put a log beside a policy: tables as paths or frames, or `uniform` for the policy.

    Rewards are predicted by the mean of each action in each context, over the four fifths of the log that a row is not in,
    drawn to the mean of all by the weight of ten rows. Raises DataError for tables that cannot be read, columns that are
    not there, probabilities that are none, and contexts the policy says nothing of.
    """
    connection = connect()
    try:
        named = _take_policy(connection, policy, columns, folder)
        described = open_table(connection, log, folder)
        _check_columns(connection, "source_rows", described, _of_log(columns))
        belongs = [columns.cluster] if columns.cluster else []
        _check_filled(connection, described, [columns.action, *columns.context, *belongs])
        _take_log(connection, columns, described)
        _take_plays(connection, columns, uniform=named is None)
        _check_plays(connection, columns)
        _predict(connection, columns)
        return _sums(connection, columns, described, named or "every action alike")
    finally:
        connection.close()


def _of_log(columns: LoggedColumns) -> list[str]:
    named = [columns.action, columns.probability, columns.reward, *columns.context]
    return [*named, *([columns.cluster] if columns.cluster else [])]


def _take_policy(
    connection: duckdb.DuckDBPyConnection, policy: str | Path | Any, columns: LoggedColumns, folder: str
) -> str | None:
    """`policy_rows`: the policy's table; returns what it is called, or None for the uniform one."""
    # A frame compared with a word is a frame of answers.
    if isinstance(policy, str) and policy == UNIFORM:
        return None
    other = connect()
    try:
        described = open_table(other, policy, folder)
        _check_columns(other, "source_rows", described, [columns.action, columns.target, *columns.context])
        _check_filled(other, described, [columns.action, *columns.context])
        connection.register("policy_frame", other.sql("SELECT * FROM source_rows").to_arrow_table())
        connection.execute("CREATE TEMP TABLE policy_rows AS SELECT * FROM policy_frame")
    finally:
        other.close()
    return described


def _check_columns(
    connection: duckdb.DuckDBPyConnection, table: str, described: str, wanted: Sequence[str]
) -> None:
    present = [str(row[0]) for row in connection.execute(f"DESCRIBE {table}").fetchall()]
    for name in wanted:
        if name not in present:
            offer = nearest(name, present)
            raise DataError(
                f"{described} has no column '{name}'; it has {', '.join(present)}{f'; {offer}' if offer else ''}"
            )


def _check_filled(connection: duckdb.DuckDBPyConnection, described: str, wanted: Sequence[str]) -> None:
    """What is empty is equal to nothing, so that its rows would be lost."""
    asked = ", ".join(f"count(*) FILTER ({quoted(name)} IS NULL)" for name in wanted)
    # Fetched to the end: a result that is left open forbids the connection everything else.
    (counts,) = connection.execute(f"SELECT {asked} FROM source_rows").fetchall()
    for name, empty in zip(wanted, counts, strict=True):
        if empty:
            rows = "1 row" if empty == 1 else f"{empty:,} rows"
            raise DataError(
                f"the column '{name}' of {described} is empty in {rows}; leave those out, or write a word there that "
                "stands for them"
            )


def _contexts(columns: LoggedColumns) -> str:
    """The context's columns, each with a comma before it."""
    return "".join(f", c{index}" for index in range(len(columns.context)))


def _told_contexts(columns: LoggedColumns) -> str:
    return "".join(f", {_text(name)} AS c{index}" for index, name in enumerate(columns.context))


def _text(column: str) -> str:
    return f"trim(CAST({quoted(column)} AS VARCHAR))"


def _number(column: str) -> str:
    text = f"lower({_text(column)})"
    return f"CASE {text} WHEN 'true' THEN 1.0 WHEN 'false' THEN 0.0 ELSE TRY_CAST({text} AS DOUBLE) END"


def _take_log(connection: duckdb.DuckDBPyConnection, columns: LoggedColumns, described: str) -> None:
    """`played`: one row for each of the log, its group and its fold, numbered in the order of the table."""
    for name, bad, accepted in (
        (
            columns.probability,
            "({v} IS NULL OR NOT ({v} > 0 AND {v} <= 1))",
            "above 0 and at most 1: it was played",
        ),
        (columns.reward, "({v} IS NULL OR NOT isfinite({v}))", "finite numbers, true, false"),
    ):
        value = _number(name)
        wrong, example = one(
            connection,
            f"SELECT count(*), any_value({quoted(name)}) FROM source_rows WHERE {bad.replace('{v}', f'({value})')}",
        )
        if wrong:
            kind = "probability" if name == columns.probability else "reward"
            many = "probabilities of what was played" if kind == "probability" else "rewards"
            raise DataError(
                f"the column '{name}' holds {strays(wrong, f'a {kind}', many, example)}. Accepted: {accepted}"
            )
    # Under a name of its own: what the table calls it may be what something here is called.
    belongs = f", {_text(columns.cluster)} AS belongs" if columns.cluster else ""
    group = "dense_rank() OVER (ORDER BY belongs)" if columns.cluster else "place"
    connection.execute(
        f"""CREATE TEMP TABLE played AS
            SELECT *, {group} AS grouped, CAST({group} % {_FOLDS} AS INTEGER) AS fold
            FROM (SELECT *, row_number() OVER () AS place FROM
                  (SELECT {_text(columns.action)} AS action{_told_contexts(columns)}, {_number(columns.probability)} AS p,
                          {_number(columns.reward)} AS y{belongs}
                   FROM source_rows))"""
    )
    if not one(connection, "SELECT count(*) FROM played")[0]:
        raise DataError(f"{described} holds no rows; there is nothing to evaluate")


def _take_plays(connection: duckdb.DuckDBPyConnection, columns: LoggedColumns, *, uniform: bool) -> None:
    """`plays`: the policy's probability of each action in each context."""
    contexts = _contexts(columns)
    if uniform:
        connection.execute(
            f"""CREATE TEMP TABLE plays AS
                SELECT action{contexts}, 1.0 / (SELECT count(DISTINCT action) FROM played) AS target
                FROM (SELECT DISTINCT action FROM played)
                CROSS JOIN (SELECT DISTINCT 0 AS nothing{contexts} FROM played)"""
        )
        return
    connection.execute(
        f"""CREATE TEMP TABLE plays AS
            SELECT {_text(columns.action)} AS action{_told_contexts(columns)}, {_number(columns.target)} AS target
            FROM policy_rows"""
    )


def _check_plays(connection: duckdb.DuckDBPyConnection, columns: LoggedColumns) -> None:
    contexts = _contexts(columns)
    wrong, example = one(
        connection,
        "SELECT count(*), any_value(target) FROM plays WHERE target IS NULL OR NOT (target >= 0 AND target <= 1)",
    )
    if wrong:
        raise DataError(
            f"the column '{columns.target}' of the policy holds {strays(wrong, 'a probability', 'probabilities', example)}. "
            "Accepted: from 0 to 1"
        )
    several = connection.execute(
        f"SELECT action FROM plays GROUP BY action{contexts} HAVING count(*) > 1 ORDER BY action LIMIT 1"
    ).fetchone()
    if several:
        within = f" and {', '.join(columns.context)}" if columns.context else ""
        raise DataError(
            f"the policy has several rows of {columns.action} {several[0]}; it needs one for each {columns.action}{within}"
        )
    group = f"GROUP BY {contexts[2:]} ORDER BY {contexts[2:]}" if columns.context else ""
    for *context, total in connection.execute(
        f"SELECT {f'{contexts[2:]}, ' if columns.context else ''}sum(target) FROM plays {group}"
    ).fetchall():
        if total is not None and abs(total - 1.0) > _ADDS_UP:
            raise DataError(
                f"the policy's probabilities{_where(columns, context)} add up to {total:.4g}; they must add up to 1"
            )
    join = " AND ".join(f"played.c{i} = plays.c{i}" for i in range(len(columns.context))) or "true"
    unknown = connection.execute(
        f"""SELECT {f"{contexts[2:]}, " if columns.context else ""}count(*) FROM played
            WHERE NOT EXISTS (SELECT 1 FROM plays WHERE {join})
            {f"GROUP BY {contexts[2:]} ORDER BY {contexts[2:]}" if columns.context else "HAVING count(*) > 0"} LIMIT 1"""
    ).fetchone()
    if unknown:
        *context, rows = unknown
        raise DataError(
            f"the policy says nothing{_where(columns, context, ' of')}, where the log has {rows:,} "
            f"row{'' if rows == 1 else 's'}; give it a row for each {columns.action} there"
        )
    _check_actions(connection, columns)


def _check_actions(connection: duckdb.DuckDBPyConnection, columns: LoggedColumns) -> None:
    """Two tables that call every action by another name: 1 in the one is 1.0 in the other."""
    shared, played, planned = one(
        connection,
        """SELECT count(*) FILTER (WHERE action IN (SELECT action FROM plays)), min(action),
                  (SELECT min(action) FROM plays) FROM played""",
    )
    if not shared:
        raise DataError(
            f"no {columns.action} of the policy stands in the log: the log has such as '{played}', the policy such as "
            f"'{planned}'; write them alike in both tables"
        )


def _where(columns: LoggedColumns, context: Sequence[str], word: str = " for") -> str:
    named = ", ".join(f"{name} {value}" for name, value in zip(columns.context, context, strict=True))
    return f"{word} {named}" if named else ""


def _predict(connection: duckdb.DuckDBPyConnection, columns: LoggedColumns) -> None:
    """`model`: for each play and fold the mean reward of the other folds; `expected`: its mean over the policy's plays."""
    contexts, keys = _contexts(columns), f"action{_contexts(columns)}"
    connection.execute(
        f"""CREATE TEMP TABLE model AS
            WITH folds AS (SELECT unnest(range({_FOLDS}))::INTEGER AS fold),
                 whole AS (SELECT count(*) AS n, sum(y) AS s FROM played),
                 parts AS (SELECT fold, count(*) AS n, sum(y) AS s FROM played GROUP BY fold),
                 means AS (SELECT folds.fold, (whole.s - coalesce(parts.s, 0)) /
                                  greatest(whole.n - coalesce(parts.n, 0), 1) AS mean
                           FROM folds CROSS JOIN whole LEFT JOIN parts USING (fold)),
                 cells AS (SELECT {keys}, count(*) AS n, sum(y) AS s FROM played GROUP BY {keys}),
                 inner_cells AS (SELECT {keys}, fold, count(*) AS n, sum(y) AS s FROM played GROUP BY {keys}, fold),
                 wanted AS (SELECT {keys} FROM plays UNION SELECT {keys} FROM cells)
            SELECT {keys}, fold,
                   (coalesce(cells.s, 0) - coalesce(inner_cells.s, 0) + {_PRIOR_ROWS!r} * mean) /
                   (coalesce(cells.n, 0) - coalesce(inner_cells.n, 0) + {_PRIOR_ROWS!r}) AS q
            FROM wanted CROSS JOIN means LEFT JOIN cells USING ({keys}) LEFT JOIN inner_cells USING ({keys}, fold)"""
    )
    connection.execute(
        f"""CREATE TEMP TABLE expected AS
            SELECT fold{contexts}, sum(target * q) AS e FROM (SELECT * FROM plays JOIN model USING ({keys}) ORDER BY ALL)
            GROUP BY fold{contexts}"""
    )


def _sums(
    connection: duckdb.DuckDBPyConnection, columns: LoggedColumns, described: str, policy: str
) -> PolicySums:
    contexts, keys = _contexts(columns), f"action{_contexts(columns)}"
    connection.execute(
        f"""CREATE TEMP TABLE scored AS
            SELECT place, grouped, y, w, e, e + w * (y - q) AS s
            FROM (SELECT played.*, coalesce(target, 0) / p AS w FROM played LEFT JOIN plays USING ({keys}))
            JOIN model USING ({keys}, fold) JOIN expected USING (fold{contexts}) ORDER BY place"""
    )
    n, mean, spread, largest, predicted = one(
        connection, "SELECT count(*), avg(w), var_pop(w), max(w), avg(e) FROM scored"
    )
    cells = f"(SELECT {keys}, count(*) AS n FROM played GROUP BY {keys})"
    if columns.context:
        visits = f"(SELECT {contexts[2:]}, count(*) AS visits FROM played GROUP BY {contexts[2:]})"
        joined = f"plays JOIN {visits} USING ({contexts[2:]})"
    else:
        joined = "plays CROSS JOIN (SELECT count(*) AS visits FROM played)"
    (unplayed,) = one(
        connection,
        f"""SELECT coalesce(sum(visits * target) FILTER (WHERE n IS NULL), 0) / sum(visits * target)
            FROM {joined} LEFT JOIN {cells} USING ({keys})""",
    )
    (actions,) = one(connection, "SELECT count(DISTINCT action) FROM played")
    sums = {
        "wy": "sum(w * y)",
        "w": "sum(w)",
        "s": "sum(s)",
        "y": "sum(y)",
        "g": "sum(s - y)",
        "n": "count(*)::DOUBLE",
    }
    named = ", ".join(f"{value} AS {name}" for name, value in sums.items())
    connection.execute(
        f"CREATE TEMP TABLE groups AS SELECT grouped, {named} FROM scored GROUP BY grouped ORDER BY grouped"
    )

    def pair(x: str, y: str) -> PairMoments:
        found = one(
            connection,
            f"SELECT count(*), avg({x}), avg({y}), var_pop({x}), var_pop({y}), covar_pop({x}, {y}) FROM groups",
        )
        if not all(math.isfinite(each) for each in found):
            raise DataError(
                f"{described}: rewards over probabilities become too large to be added up; the largest weight is "
                f"{largest:.3g}; look for a probability next to 0, or a reward beyond belief"
            )
        groups = int(found[0])
        return PairMoments(groups, found[1], found[2], *(groups * each for each in found[3:]))

    return PolicySums(
        source=described,
        policy=policy,
        weights=Moments(n, mean, n * spread),
        largest=largest,
        weighted=pair("wy", "n"),
        normalised=pair("wy", "w"),
        robust=pair("s", "n"),
        gained=pair("g", "n"),
        played=pair("y", "n"),
        weights_by_group=pair("w", "n"),
        predicted=predicted,
        unplayed=unplayed,
        actions=actions,
    )
