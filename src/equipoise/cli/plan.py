"""`equipoise plan FILE`: sizes, looks, duration, and what differs between the variants."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equipoise.cli.output import AsJson, LogPlace, caution, emit, rows
from equipoise.cli.plan_bandit import as_a_bandit, bandit_lines
from equipoise.cli.plan_clusters import clusters_json, clusters_text
from equipoise.cli.plan_slots import past_text, schedule_rows, schedule_text
from equipoise.errors import UsageError

if TYPE_CHECKING:
    from equipoise.design.plan import Plan
    from equipoise.experiment.definition import Experiment

__all__ = ["plan", "plan_text"]


def plan(
    file: Annotated[Path, typer.Argument(help="The experiment file.")],
    units_per_day: Annotated[
        float | None, typer.Option(help="Units enrolled per day, for the duration.", show_default=False)
    ] = None,
    turns_per_day: Annotated[
        float | None,
        typer.Option(
            help="Turns per day at full coverage, for the false alarms of watches.", show_default=False
        ),
    ] = None,
    starts: Annotated[
        str | None,
        typer.Option(
            help="Of a switchback: the day from which on to print the schedule (default: today, UTC).",
            show_default=False,
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help="Of a switchback by an attribute: whose schedule to print.", show_default=False),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            help="Of a switchback or of clusters: the experiment in the log (or, of clusters, a table) whose past says what "
            "they are like.",
            show_default=False,
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="With --like: the attribute or column that names clusters.", show_default=False),
    ] = None,
    log: LogPlace = None,
    as_json: AsJson = False,
) -> None:
    """Work out the plan: units per metric, looks and boundaries, duration, false alarms, what differs between variants."""
    from equipoise.design.plan import plan as draw
    from equipoise.experiment.reading import read_definition

    reading = read_definition(file)
    experiment = reading.experiment
    since = _since(starts)
    past = None if like is None else _past(like, log, experiment, cluster)
    drawn = draw(experiment, units_per_day=units_per_day, turns_per_day=turns_per_day)
    shown = experiment.switchback is not None and (experiment.switchback.by is None or by is not None)
    played = as_a_bandit(experiment, drawn)
    if as_json:
        also: dict[str, Any] = {"warnings": [str(warning) for warning in reading.warnings]}
        also |= {"schedule": schedule_rows(experiment, since, by)} if shown else {}
        emit(drawn.to_dict() | played | also | ({} if past is None else past[0]))
        return
    caution(reading.warnings)
    print(plan_text(drawn, experiment.hypothesis, experiment.counted))
    if played:
        print("\n".join(bandit_lines(**played["bandit"])))
    if shown:
        print(f"\n{schedule_text(experiment, since, by)}")
    if past is not None:
        print(f"\n{past[1]}")


def _since(starts: str | None) -> float:
    from datetime import UTC, datetime

    if starts is None:
        return datetime.now(UTC).timestamp()
    try:
        return datetime.fromisoformat(starts).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise UsageError(f"--starts is a day such as 2026-11-30, and this is '{starts}'") from None


def _past(
    like: str, log: str | None, experiment: Experiment, cluster: str | None
) -> tuple[dict[str, Any], str]:
    """What the past says of slots or clusters, as JSON and in words."""
    from equipoise import settings
    from equipoise.conduct.past.clusters import past_clusters, past_clusters_of_table
    from equipoise.conduct.past.slots import past_slots
    from equipoise.events.opening import open_log

    of_clusters = experiment.unit.type == "cluster"
    if of_clusters and os.path.isfile(like):
        table = past_clusters_of_table(experiment, like, cluster=cluster)
        return {"past_clusters": clusters_json(table)}, clusters_text(table)
    opened = open_log(log or settings.default_log(), create=False)
    try:
        if of_clusters:
            found = past_clusters(opened, like, experiment, cluster=cluster)
            return {"past_clusters": clusters_json(found)}, clusters_text(found)
        slots = past_slots(opened, like, experiment)
        return {"past_slots": slots.to_dict()}, past_text(slots)
    finally:
        opened.close()


def plan_text(drawn: Plan, hypothesis: str, what: str = "units") -> str:
    """The plan as a person reads it; `what` is counted."""
    from equipoise.stats.estimate import NotEstimable

    parts = [drawn.experiment, hypothesis, ""]
    parts += ["What differs from control", *_differences(drawn), ""]
    lines = []
    for name, size in drawn.sizes.items():
        if isinstance(size, NotEstimable):
            lines.append([name, "not estimable", "", size.reason])
            continue
        asked = "find a change of" if size.question == "detect" else "exclude a worsening by"
        mark = "  <- binding" if name == drawn.binding else ""
        lines.append([name, f"{asked} {size.effect:.4g}", f"{size.total:,}", f"{size.priority}{mark}"])
    parts += [rows(["metric", "question", f"{what} in all", ""], lines), ""]
    if drawn.total is not None:
        parts.append(
            (
                f"Looking {len(drawn.looks)} times costs a factor of {drawn.inflation:.4f}: "
                if len(drawn.looks) > 1
                else "With one look at the end: "
            )
            + f"{drawn.total:,} {what} at most, {drawn.expected:,} on average if the effect "
            f"is as planned (alpha {drawn.alpha:g}, power {drawn.power:g})."
        )
    else:
        parts.append("No metric could be sized; beside each stands what it lacks.")
    parts += [
        "",
        rows(
            ["look", "information", what, "boundary |z|", "alpha spent"],
            [
                [
                    str(look.number),
                    f"{look.fraction:.0%}",
                    "–" if look.units is None else f"{look.units:,}",
                    f"{look.boundary:.4f}",
                    f"{look.spent:.5f}",
                ]
                for look in drawn.looks
            ],
        ),
        "",
    ]
    if isinstance(drawn.days, NotEstimable):
        parts.append(f"Duration: {drawn.days.reason}.")
    else:
        days = "1 day" if drawn.days == 1 else f"{drawn.days:g} days"
        parts.append(
            f"Duration: {days} at {drawn.units_per_day:,.0f} {what} a day, burn-in and whole cycles included."
        )
    if drawn.watches:
        parts += ["", "What the watches do where nothing is wrong", *_watches(drawn), ""]
    parts += [f"Note: {note}." for note in drawn.notes]
    if drawn.requests_per_case:
        each = ", ".join(f"{count} {what}" for what, count in drawn.requests_per_case.items())
        parts.append(f"Offline, each case asks for {each}.")
    return "\n".join(parts)


def _watches(drawn: Plan) -> list[str]:
    from equipoise.stats.estimate import NotEstimable

    known = [each for each in drawn.watches if not isinstance(each, NotEstimable)]
    lines = [
        [each.says, f"{each.alarms:.3g}", f"{each.actions:.3g}" if each.action != "alert" else "–"]
        for each in known
    ]
    told = [rows(["watch", "false alarms a week", "false actions a week"], lines)] if lines else []
    return told + [f"  {each.reason}" for each in drawn.watches if isinstance(each, NotEstimable)]


def _differences(drawn: Plan) -> list[str]:
    if not drawn.differences:
        return ["  nothing: this is an A/A test"]
    lines = []
    for each in drawn.differences:
        before, after = _apart(_said(each.control), _said(each.treatment))
        lines.append(f"  {each.variant}: {each.path}: {before} -> {after}")
    return lines


def _said(value: Any) -> str:
    if value is None:
        return "(not set)"
    return '"' + " ".join(value.split()) + '"' if isinstance(value, str) else repr(value)


def _apart(one: str, other: str, room: int = 60) -> tuple[str, str]:
    """Both texts cut to size, from where they begin to differ.

    >>> _apart('"' + "a" * 70 + ' old"', '"' + "a" * 70 + ' new"')
    ('…aaaaaaaa old"', '…aaaaaaaa new"')
    """
    start = 0
    if max(len(one), len(other)) > room:
        shared = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
        start = max(0, shared - 9) if shared > room // 2 else 0

    def cut(text: str) -> str:
        kept = ("…" if start else "") + text[start:]
        return kept if len(kept) <= room else kept[: room - 1] + "…"

    return cut(one), cut(other)
