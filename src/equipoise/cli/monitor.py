"""`equipoise monitor`: watches, followed and acted on; live turns, judged; bandits, weighed; alerts, told."""

from __future__ import annotations

import json
import random
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equipoise.cli.output import AsJson, LogPlace, emit, is_file, moment, note
from equipoise.errors import RecordError, UsageError
from equipoise.figures.lettering import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from equipoise.integrations.collectors import Receiver
    from equipoise.monitor.loop import News

__all__ = ["AlertsPlace", "destinations", "monitor"]

_CHORES = ("watches", "judge", "weights", "alerts")

AlertsPlace = Annotated[
    Path | None,
    typer.Option(
        "--alerts",
        help="A YAML file that says where alerts go (default: $EQUIPOISE_ALERTS, or nowhere).",
        show_default=False,
    ),
]


def monitor(
    once: Annotated[
        bool, typer.Option("--once", help="Take in what is in the log now, act on it, and end.")
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(help="Do one thing alone: watches, judge, weights or alerts.", show_default=False),
    ] = None,
    alerts: AlertsPlace = None,
    log: LogPlace = None,
    as_json: AsJson = False,
    tell: Annotated[Path | None, typer.Option(hidden=True)] = None,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Watch every experiment that is served, and do what its watches say; judge the live turns that were drawn; give
    bandits the shares that their rewards say.

    It goes on until it is stopped; with --json each thing it does is a line. Any number may run: each thing is done once.
    """
    from equipoise import settings
    from equipoise.cli.stopping import until_told
    from equipoise.conduct.judges import OnlineJudges
    from equipoise.events.opening import open_cursors, open_log, open_texts, open_windows
    from equipoise.events.patient import PatientLog
    from equipoise.files import write_whole
    from equipoise.integrations.alerting import Alerting
    from equipoise.monitor import loop
    from equipoise.monitor.judging import Judging
    from equipoise.monitor.watches import Watches
    from equipoise.monitor.weights import Weights, in_a_process

    if only is not None and only not in _CHORES:
        raise UsageError(f"the monitor has no chore '{only}'; accepted: {', '.join(_CHORES)}")
    where = log or settings.default_log()
    if where == "memory:":
        raise UsageError("a log in memory is seen by nobody else; name a file or postgresql://… with --log")
    told_to = destinations(alerts)
    if once:
        # Whoever waits for the end is told at once that there is nothing to wait for.
        open_log(where, create=False).close()
    record = PatientLog(lambda: open_log(where, create=False))
    watches = Watches(record, lambda: open_windows(where))
    judges = OnlineJudges(
        record, lambda: open_texts(where), lambda: open_cursors(where), connect=settings.connect
    )
    # In this order, so that of what is done once it is also told.
    every: dict[str, list[loop.Chore]] = {
        "watches": [watches],
        "judge": [Judging(judges)],
        "weights": [Weights(record, in_a_process(where))],
        "alerts": [
            Alerting(record, lambda: open_cursors(where), each, rng=random.SystemRandom(), once=once)
            for each in told_to
        ],
    }
    chores = [each for name, some in every.items() if only in (None, name) for each in some]
    news: list[dict[str, Any]] = []

    def told(chore: str, said: News) -> None:
        line = {"at": time.time(), "chore": chore, **asdict(said)}
        if not as_json:
            # Of which experiment it speaks, or else of which destination.
            of = said.experiment or ("" if chore in every else chore)
            note(f"{moment(line['at'])} {f'{of}: ' if of else ''}{clean(said.says)}")
        elif once:
            news.append(line)
        else:
            sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
            sys.stdout.flush()

    def state(stands: dict[str, Any]) -> None:
        if tell is not None:
            # Whoever reads it sees by its time that it is old.
            with suppress(UsageError):
                write_whole(tell, json.dumps({"at": time.time(), **stands}))

    try:
        if once:
            stands = loop.once(chores, told=told)
            if as_json:
                emit({"news": news, "chores": stands})
            else:
                print("\n".join(_summary(stands)))
            if code := _exit_code(stands):
                raise typer.Exit(code)
        else:
            if not as_json:
                from equipoise.events.postgres_connections import shown

                note(f"watching the log {where if is_file(where) else shown(where)} (Ctrl-C stops it)")
            loop.keep_going(chores, stop=until_told(parent), told=told, state=state)
    finally:
        for some in every.values():
            for each in some:
                each.close()
        record.close()


def destinations(alerts: Path | None) -> tuple[Receiver, ...]:
    """Where alerts go, by the file that is named or by the environment's; none without either."""
    from equipoise import settings

    place = alerts or settings.alerts()
    if place is None:
        return ()
    from equipoise.integrations.destinations import read_destinations

    return read_destinations(Path(place), settings.variable)


def _exit_code(stands: dict[str, Any]) -> int:
    """How a run ends that left something undone: what could not be watched is first, then what could not be judged."""
    if stands.get("watches", {}).get("troubles"):
        return RecordError.exit_code
    judged = stands.get("judge", {}).get("experiments", {})
    return max((each["exit_code"] for each in judged.values()), default=0)


def _summary(stands: dict[str, Any]) -> Iterator[str]:
    if "watches" in stands:
        yield _watched(stands["watches"])
    for identity, each in stands.get("judge", {}).get("experiments", {}).items():
        aside = sum(each["unscored"].values())
        said = f"{identity}: {each['scored']:,} turns judged, {aside:,} not, {each['waiting']:,} wait"
        said += f"; today ${each['spent_usd']:.4f}"
        if each["elsewhere"]:
            said = f"{identity}: judged by {each['elsewhere']}"
        yield clean(said + (f"; {each['trouble']}" if each["trouble"] else ""))
    for identity, each in stands.get("weights", {}).get("bandits", {}).items():
        because = each["trouble"] or each["because"]
        said = f"{identity}: next shares " + (f"from {moment(each['due'])} UTC" if each["due"] else "none")
        yield clean(said + (f"; {because}" if because else ""))


def _watched(stands: dict[str, Any]) -> str:
    watched, acted = len(stands["watched"]), stands["acted"]
    said = f"{watched} {'experiment' if watched == 1 else 'experiments'} watched; "
    said += f"{acted} {'alert' if acted == 1 else 'alerts'}"
    return said + (f"; trouble with {', '.join(stands['troubles'])}" if stands["troubles"] else "")
