"""Merging: small segments that lie side by side become one, with the same facts at the same positions.

The order is that of sealing: the new files are whole and durable first, then one transaction enters the new segment in
place of the old ones, and only then the old files go. Killed anywhere, the facts are in the old segments or in the new one.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from equipoise.errors import RecordError, UsageError
from equipoise.events.cold.keys import joined
from equipoise.events.cold.sealing import SEGMENT_FACTS
from equipoise.events.cold.segments import as_parquet, columns_of, rows_of
from equipoise.events.cold.shelf import (
    MissingFileError,
    digest_of,
    keep,
    names_on,
    shelf_of,
    take,
    throw_away,
)
from equipoise.events.manifest import Segment, replace_segments, segments
from equipoise.events.sqlite_file import connect

__all__ = ["Merged", "groups", "merge"]


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge did: how many segments became how many, and the facts in them."""

    before: int
    after: int
    facts: int


def merge(log: str | Path, *, segment_facts: int = SEGMENT_FACTS) -> Merged:
    """Merge neighbouring segments of the SQLite log at a path, as long as no more than `segment_facts` come together.

    Others may read, write, seal and merge it meanwhile; a purge that runs may fail or make this fail, and either can be
    repeated. What a purge left out stays out, and its ids stay known. Raises RecordError where the log or its folder
    cannot be read or written, or a segment or its keys are missing or damaged; UsageError for segments of no fact,
    MissingExtraError without the `analysis` extra where there is something to merge.
    """
    if segment_facts < 1:
        raise UsageError(f"a segment cannot hold {segment_facts} facts; accepted: 1 or more")
    path = Path(log)
    shelf = shelf_of(path.absolute())
    before = after = facts = 0
    connection = connect(path, create=False)
    try:
        for group in groups(list(segments(connection)), segment_facts):
            if (made := _one(connection, shelf, group)) is not None:
                before, after, facts = before + len(group), after + 1, facts + made.facts
        return Merged(before, after, facts)
    except sqlite3.Error as error:
        raise RecordError(f"the segments of the log {path} could not be merged: {error}") from None
    finally:
        connection.close()


def groups(found: Iterable[Segment], most: int) -> Iterator[list[Segment]]:
    """Segments that become one: neighbours, two at least, of `most` facts together at most; as many as fit."""
    group: list[Segment] = []
    for each in found:
        if group and sum(other.facts for other in group) + each.facts > most:
            if len(group) > 1:
                yield group
            group = []
        group.append(each)
    if len(group) > 1:
        yield group


def _one(connection: sqlite3.Connection, shelf: Path, group: Sequence[Segment]) -> Segment | None:
    """Put one segment in the place of several; None where somebody else was faster."""
    try:
        table = as_parquet(columns_of([row for each in group for row in rows_of(shelf, each)]))
        # Those of facts that were purged, too.
        keys = joined(take(shelf, each.keys, each.keys_sha256) for each in group)
    except MissingFileError:
        if {each.name for each in group} <= {each.name for each in segments(connection)}:
            raise
        return None
    name = f"{group[0].first:015d}-{secrets.token_hex(8)}"
    merged = Segment(
        first=group[0].first,
        last=group[-1].last,
        facts=sum(each.facts for each in group),
        name=f"{name}.parquet",
        sha256=digest_of(table),
        keys=f"{name}.keys",
        keys_sha256=digest_of(keys),
        oldest=min((each.oldest for each in group if each.oldest is not None), default=None),
        newest=max((each.newest for each in group if each.newest is not None), default=None),
        untimed=sum(each.untimed for each in group),
        counts=_counted(group),
    )
    keep(shelf, merged.name, table)
    keep(shelf, merged.keys, keys)
    done = _enter(connection, shelf, group, merged)
    for each in group if done else (merged,):
        throw_away(shelf, each.name)
        throw_away(shelf, each.keys)
    return merged if done else None


def _counted(group: Sequence[Segment]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for each in group:
        for experiment, kinds in each.counts.items():
            counts.setdefault(experiment, Counter()).update(kinds)
    return {experiment: dict(kinds) for experiment, kinds in counts.items()}


def _enter(connection: sqlite3.Connection, shelf: Path, group: Sequence[Segment], merged: Segment) -> bool:
    """Enter the new segment in place of the old ones, at once or not at all.

    False if one of them is gone, by another merge or a purge, or if a purge has swept the new files away.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        there = {merged.name, merged.keys} <= set(names_on(shelf))
        done = there and replace_segments(connection, group, merged)
        connection.execute("COMMIT" if done else "ROLLBACK")
    except BaseException:
        # A full disk has rolled back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return done
