"""`equipoise log VERB`: looking after the record."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from equipoise.cli.conversation import promote_turn, show
from equipoise.cli.output import AsJson, LogPlace, emit, is_file, note, working
from equipoise.cli.stopping import until_told
from equipoise.errors import UsageError, nearest
from equipoise.files import write_whole

__all__ = ["app"]

_DAMAGED = 2

app = typer.Typer(
    help="Look after the log: show a conversation, make a case of a turn, seal what is old, merge segments, verify that "
    "all is there, export it, purge a unit.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("show")(show)
app.command("promote")(promote_turn)


def _file(log: str | None, verb: str) -> str:
    """The path of the log; UsageError for one that is no file."""
    from equipoise import settings

    where = log or settings.default_log()
    if not is_file(where):
        raise UsageError(
            f"`equipoise log {verb}` is about a log in a file, and this one is elsewhere; name a file with --log. "
            "A log in PostgreSQL keeps everything in its one table"
        )
    return where


@app.command("seal")
def seal(
    hot: Annotated[
        float, typer.Option("--hot", help="Seconds that a fact stays in the hot log at least.")
    ] = 600.0,
    facts: Annotated[
        int | None,
        typer.Option(
            "--facts", help="Facts in a segment at most (default: 50,000; with --every 5,000, and no fewer)."
        ),
    ] = None,
    every: Annotated[
        float | None, typer.Option("--every", help="Go on until stopped; look for more so often, in seconds.")
    ] = None,
    log: LogPlace = None,
    as_json: AsJson = False,
    tell: Annotated[Path | None, typer.Option(hidden=True)] = None,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Move what came with traffic and is old enough to Parquet segments beside the log."""
    from equipoise.events.cold import sealing

    where = _file(log, "seal")
    if every is not None:
        _keep_sealing(where, every, hot, facts, as_json=as_json, tell=tell, parent=parent)
        return
    facts = sealing.SEGMENT_FACTS if facts is None else facts
    with working("sealing"):
        done = sealing.seal(where, hot_s=hot, segment_facts=facts)
    if as_json:
        emit(asdict(done))
    elif not done.segments:
        print(f"nothing to seal: no fact of traffic in {where} is older than {hot:g} seconds")
    else:
        print(f"{done.facts:,} facts sealed in {done.segments} segments, {done.bytes:,} bytes")


def _keep_sealing(
    where: str,
    every: float,
    hot: float,
    facts: int | None,
    *,
    as_json: bool,
    tell: Path | None,
    parent: int | None,
) -> None:
    from equipoise.events.cold import sealer

    if not 0 < every < math.inf:
        raise UsageError(f"sealing every {every:g} seconds is not possible; accepted: more than 0")
    stop, before = until_told(parent), sealer.Sealing()

    def told(now: sealer.Sealing) -> None:
        nonlocal before
        if tell is not None:
            write_whole(tell, json.dumps(now.to_dict()))
        if as_json:
            sys.stdout.write(json.dumps(now.to_dict()) + "\n")
            sys.stdout.flush()
        elif now.trouble != before.trouble and now.trouble is not None:
            note(f"not sealed: {now.trouble}")
        if not as_json and now.facts > before.facts:
            note(
                f"sealed {now.facts - before.facts:,} facts of {where} in {now.segments - before.segments} segments"
            )
        before = now

    sealer.keep_sealing(
        where,
        stop=stop,
        told=told,
        every_s=every,
        hot_s=hot,
        segment_facts=sealer.WHILE_SERVING_FACTS if facts is None else facts,
    )


@app.command("merge")
def merge(
    facts: Annotated[
        int | None, typer.Option("--facts", help="Facts in a segment at most (default: 50,000).")
    ] = None,
    log: LogPlace = None,
    as_json: AsJson = False,
) -> None:
    """Make one segment of several small ones that lie side by side; not while a copy of the log is made."""
    from equipoise.events.cold import merging, sealing

    where = _file(log, "merge")
    with working("merging"):
        done = merging.merge(where, segment_facts=sealing.SEGMENT_FACTS if facts is None else facts)
    if as_json:
        emit(asdict(done))
    elif not done.after:
        print(f"nothing to merge: no segments of {where} fit into one")
    else:
        print(f"{done.before:,} segments are {done.after:,} now, with {done.facts:,} facts")


@app.command("verify")
def verify(log: LogPlace = None, as_json: AsJson = False) -> None:
    """Check the log's file, its segments against their digests, and that no position is missing."""
    from equipoise.events.cold import verifying

    where = _file(log, "verify")
    with working("verifying"):
        found = verifying.verify(where)
    if as_json:
        emit(found.to_dict())
    else:
        print(f"{where} is {'sound' if found.sound else 'damaged'}")
        print(
            f"  head: {found.head:,}; hot: {found.hot:,}; sealed: {found.sealed:,}; segments: {found.segments:,}"
        )
        if found.purged:
            print(f"  purged: {found.purged:,}")
        for fault in found.faults:
            print(f"  fault: {fault}")
        for stray in found.strays:
            print(f"  stray: {stray}, which the manifest does not name; nobody reads it")
    if not found.sound:
        raise typer.Exit(_DAMAGED)


@app.command("rebuild")
def rebuild(log: LogPlace = None, as_json: AsJson = False) -> None:
    """Make anew what follows from the facts: lost or damaged keys, indexes; and remove stray files."""
    from equipoise.events.cold import rebuilding

    where = _file(log, "rebuild")
    with working("rebuilding"):
        done = rebuilding.rebuild(where)
    if as_json:
        emit(asdict(done))
    else:
        print(f"keys made anew: {done.keys:,}; strays removed: {done.strays:,}")


@app.command("export")
def export(
    file: Annotated[
        Path | None, typer.Argument(help="Where the JSON lines go (default: stdout).", show_default=False)
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="Only facts of this experiment.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Only facts of this kind; may be repeated.")] = None,
    log: LogPlace = None,
    as_json: AsJson = False,
) -> None:
    """Write every fact as a line of JSON, hot and sealed alike, in the order of positions."""
    from equipoise import settings
    from equipoise.events.exporting import json_lines
    from equipoise.events.facts import KINDS
    from equipoise.events.opening import open_log

    for each in kind or ():
        if each not in KINDS:
            raise UsageError(
                f"there are no facts of the kind '{each}'; there are: {', '.join(sorted(KINDS))}"
                + (f"; {offer}" if (offer := nearest(each, KINDS)) else "")
            )
    if as_json and file is None:
        raise UsageError("the result of export is JSON lines already; with --json name the file they go to")
    where = log or settings.default_log()
    if file is not None and is_file(where) and _belongs(file, where):
        raise UsageError(
            f"{file} belongs to the log itself, which the export would write over; name another file"
        )
    record = open_log(where, create=False)
    count = 0
    try:
        with nullcontext(sys.stdout.buffer) if file is None else _whole(file) as stream:
            for line in json_lines(record, experiment=experiment, kinds=kind or None):
                stream.write(line)
                count += 1
    finally:
        record.close()
    if file is None:
        return
    emit({"facts": count, "file": str(file)}) if as_json else print(f"{count:,} facts in {file}")


@app.command("purge")
def purge(
    unit: Annotated[str, typer.Argument(help="The unit, as it was given: a user's or a conversation's id.")],
    reason: Annotated[str | None, typer.Option(help="Why; recorded, so leave the unit out of it.")] = None,
    log: LogPlace = None,
    as_json: AsJson = False,
) -> None:
    """Take every fact and every text of a unit out for good; that so many facts are gone is recorded."""
    from equipoise import settings
    from equipoise.conduct.purge import purge_unit
    from equipoise.events.postgres_connections import shown

    where = log or settings.default_log()
    with working("purging"):
        purged = purge_unit(where, unit, by=settings.user(), reason=reason)
    done, gone = purged.facts, purged.texts
    place = where if is_file(where) else shown(where)
    if as_json:
        emit(asdict(done) | {"texts": gone})
    else:
        if done.facts:
            print(
                f"{done.facts:,} facts purged from {', '.join(done.experiments)}; {place} keeps how many, and no more"
            )
        else:
            print(f"nothing to purge: {place} holds no fact of this unit")
        if gone:
            print(f"{gone:,} texts purged")
    if done.unclean:
        note(f"warning: {done.unclean}")


def _belongs(file: Path, log: str) -> bool:
    """Whether a file is the log's own or one of those beside it."""
    from equipoise.events.cold.shelf import shelf_of
    from equipoise.events.opening import BESIDE

    target, own = file.resolve(), Path(log).resolve()
    names = (own.name, *(f"{own.name}.{ending}" for ending in BESIDE))
    its_own = {own.with_name(name + ending) for name in names for ending in ("", "-wal", "-shm", "-journal")}
    return target in its_own or shelf_of(own) in (target, *target.parents)


@contextmanager
def _whole(file: Path) -> Iterator[BinaryIO]:
    """A file that is there once everything is in it."""
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with open(part, "xb") as stream:
            yield stream
        os.replace(part, file)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror or error}") from None
    finally:
        # Where nothing can be written, nothing can be removed either.
        with suppress(OSError):
            part.unlink()
