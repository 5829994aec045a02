"""`equipoise outbox VERB`: the facts of a log to a collector, and where that stands."""

from __future__ import annotations

import random
import signal
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from equipoise.cli.monitor import AlertsPlace, destinations
from equipoise.cli.output import AsJson, LogPlace, emit, moment, note, rows
from equipoise.errors import UsageError, nearest

if TYPE_CHECKING:
    from equipoise.events.cursors import Cursor, Cursors
    from equipoise.events.log import EventLog
    from equipoise.integrations.collectors import Receiver

__all__ = ["outbox"]

_VERBS = ("deliver", "status", "quarantine", "replay")
_SENDING = ("deliver", "replay")
_REFUSED_AGAIN = 3
_ALERTS = "alerts "
"""What the names of the monitor's destinations begin with: they are told of alerts alone."""


def outbox(
    verb: Annotated[str, typer.Argument(help="deliver, status, quarantine or replay.")] = "status",
    to: Annotated[str | None, typer.Option(help="The address of the collector.", show_default=False)] = None,
    kind: Annotated[
        str, typer.Option(help="What it speaks: http (JSON lines) or otlp (OpenTelemetry log records).")
    ] = "http",
    once: Annotated[bool, typer.Option("--once", help="Deliver what is in the log now, and end.")] = False,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Seconds to wait for an answer of the collector.")
    ] = 30.0,
    turn: Annotated[
        float,
        typer.Option(
            min=0.5, max=600, help="Seconds after which another takes over from one that was killed."
        ),
    ] = 10.0,
    alerts: AlertsPlace = None,
    log: LogPlace = None,
    as_json: AsJson = False,
) -> None:
    """Deliver the facts of the log to a collector, at least once; show what is behind or refused, and send it again.

    What a collector must be shown comes from EQUIPOISE_OUTBOX_HEADERS (authorization=Bearer%20…).
    """
    from equipoise import settings
    from equipoise.events.opening import open_cursors, open_log

    _check(verb, to, once=once)
    # An address that cannot be used is told before anything is opened.
    collector = _receiver(to, kind, timeout, alerts) if to is not None else None
    where = log or settings.default_log()
    record = open_log(where, create=False)
    try:
        cursors = open_cursors(where, create=verb in _SENDING)
        try:
            match verb:
                case "deliver":
                    assert collector is not None
                    _deliver(record, cursors, collector, once=once, turn=turn, as_json=as_json)
                case "replay":
                    assert collector is not None
                    _replay(record, cursors, collector, as_json=as_json)
                case "quarantine":
                    _quarantine(_wanted(cursors, collector), cursors, as_json=as_json)
                case _:
                    _status(record, _wanted(cursors, collector), as_json=as_json)
        finally:
            cursors.close()
    finally:
        record.close()


def _check(verb: str, to: str | None, *, once: bool) -> None:
    if verb not in _VERBS:
        offer = nearest(verb, _VERBS)
        raise UsageError(
            f"'{verb}' is nothing an outbox does; accepted: {', '.join(_VERBS)}"
            + (f"; {offer}" if offer else "")
        )
    if verb in _SENDING and to is None:
        raise UsageError(f"say where to: equipoise outbox {verb} --to https://collector.example/facts")
    if verb == "deliver" and to is not None and to.startswith(_ALERTS):
        raise UsageError("alerts are delivered by whoever watches: equipoise monitor --alerts FILE")
    if once and verb != "deliver":
        raise UsageError(f"--once belongs to deliver, and this is {verb}")


def _receiver(to: str, kind: str, timeout: float, alerts: Path | None) -> Receiver:
    """Whom it is about: a collector by its address, a destination of alerts by its name."""
    from equipoise import settings

    if to.startswith(_ALERTS):
        known = {each.name: each for each in destinations(alerts)}
        if to not in known:
            raise UsageError(
                f"there is no destination '{to}'; there are: {', '.join(known) or 'none, name the file with --alerts'}"
            )
        return known[to]
    from equipoise.integrations.collectors import collector

    return collector(to, kind, headers=settings.outbox_headers(), timeout_s=timeout)


def _wanted(cursors: Cursors, collector: Receiver | None) -> list[Cursor]:
    from equipoise.events.cursors import READER

    return [
        each
        for each in cursors.all()
        if not each.collector.startswith(READER) and (collector is None or each.collector == collector.name)
    ]


def _deliver(
    log: EventLog, cursors: Cursors, collector: Receiver, *, once: bool, turn: float, as_json: bool
) -> None:
    from equipoise.integrations.outbox import Patience, deliver

    asked: list[int] = []

    def stop(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    if not once:
        # What is under way is finished first; whoever asks twice is in a hurry.
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        note(f"delivering to {collector.name} (Ctrl-C stops it)")
    done = deliver(
        log,
        cursors,
        collector,
        rng=random.SystemRandom(),
        once=once,
        patience=Patience(turn_s=turn),
        stopping=lambda: bool(asked),
    )
    if as_json:
        emit({"collector": collector.name} | asdict(done))
        return
    print(f"{done.delivered:,} facts delivered to {collector.name}")
    if done.refused:
        print(f"  {done.refused:,} in quarantine: equipoise outbox quarantine")
    if done.retries:
        print(f"  {done.retries:,} posts repeated")


def _replay(log: EventLog, cursors: Cursors, collector: Receiver, *, as_json: bool) -> None:
    from equipoise.integrations.replaying import replay

    done = replay(log, cursors, collector, rng=random.SystemRandom())
    if as_json:
        emit({"collector": collector.name} | asdict(done))
    else:
        print(f"{done.replayed:,} facts out of quarantine delivered to {collector.name}")
        if done.refused:
            print(f"  {done.refused:,} refused again, and still there: equipoise outbox quarantine")
        if done.gone:
            print(f"  {done.gone:,} are in the log no more")
    if done.refused:
        raise typer.Exit(_REFUSED_AGAIN)


def _status(log: EventLog, found: list[Cursor], *, as_json: bool) -> None:
    head = log.head()

    def behind(cursor: Cursor) -> int:
        if cursor.collector.startswith(_ALERTS):
            return sum(1 for _ in log.read_since(cursor.position, kinds=("alert",)))
        return max(0, head - cursor.position)

    if as_json:
        emit([asdict(each) | {"behind": behind(each), "quarantined": each.quarantined} for each in found])
        return
    if not found:
        print("nothing of this log was ever delivered there; see `equipoise outbox deliver --help`")
        return
    print(
        rows(
            [
                "collector",
                "behind",
                "last acknowledged",
                "delivered",
                "quarantined",
                "replayed",
                "gone",
                "retries",
            ],
            [
                [
                    each.collector,
                    f"{behind(each):,}",
                    "never" if each.acknowledged is None else f"{moment(each.acknowledged)} UTC",
                    f"{each.delivered:,}",
                    f"{each.quarantined:,}",
                    f"{each.replayed:,}",
                    f"{each.gone:,}",
                    f"{each.retries:,}",
                ]
                for each in found
            ],
        )
    )
    for each in found:
        if each.trouble is not None:
            print(f"{each.collector} {each.trouble}")
        if each.who is not None:
            print(f"{each.who} delivers to {each.collector}")


def _quarantine(found: list[Cursor], cursors: Cursors, *, as_json: bool) -> None:
    waiting = [row for each in found for row in cursors.quarantine(each.collector)]
    if as_json:
        emit([asdict(each) for each in waiting])
        return
    if not waiting:
        print("nothing is in quarantine")
        return
    print(
        rows(
            ["collector", "position", "event", "kind", "experiment", "since", "tries", "reason"],
            [
                [
                    each.collector,
                    f"{each.position:,}",
                    each.event_id,
                    each.kind,
                    each.experiment,
                    f"{moment(each.since)} UTC",
                    str(each.tries),
                    each.reason,
                ]
                for each in waiting
            ],
        )
    )
