"""`equipoise baseline NAME|FILE`: past windows, what they are like, and what the watches do to them by chance."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from equipoise.cli.output import AsJson, LogPlace, caution, emit, moment, rows, working
from equipoise.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from equipoise.measurement.guardrails.baseline import Baseline, WatchBaseline
    from equipoise.measurement.guardrails.forecast import Caught
    from equipoise.stats.estimate import NotEstimable

__all__ = ["baseline"]


def baseline(
    what: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE", help="A registered experiment, or a file: its table, or its name's log."
        ),
    ],
    since: Annotated[
        str | None, typer.Option(help="Where the stable period begins, such as '2026-01-31 12:00' (UTC).")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Where it ends.")] = None,
    arm: Annotated[
        str | None, typer.Option(help="The arm that was stable (default: control).", show_default=False)
    ] = None,
    turns_per_day: Annotated[
        float | None,
        typer.Option(help="Turns per day of all arms together, if others are coming.", show_default=False),
    ] = None,
    most: Annotated[float, typer.Option(help="False actions a week that a proposed limit may cost.")] = 0.1,
    quantile: Annotated[float, typer.Option(help="The share of windows within the windows' limit.")] = 0.99,
    log: LogPlace = None,
    as_json: AsJson = False,
) -> None:
    """Learn from past windows: level, spread, false alarms and actions of each watch, and limits that make them rare."""
    from equipoise import settings
    from equipoise.conduct.baseline import baseline as learn
    from equipoise.conduct.baseline import baseline_of_table
    from equipoise.events.opening import open_log
    from equipoise.experiment.reading import read_definition

    start, end = (_time(option, text) for option, text in (("--since", since), ("--until", until)))
    path = Path(what)
    experiment = None
    if path.suffix in (".yaml", ".yml") or os.path.isfile(what):
        reading = read_definition(path)
        caution(reading.warnings)
        experiment = reading.experiment
    with working("reading and counting"):
        if experiment is not None and experiment.source is not None:
            found = baseline_of_table(
                experiment, since=start, until=end, arm=arm, turns_per_day=turns_per_day, quantile=quantile,
                most=most,
            )  # fmt: skip
        else:
            record = open_log(log or settings.default_log(), create=False)
            try:
                found = learn(
                    record, what if experiment is None else experiment.name, definition=experiment, since=start,
                    until=end, arm=arm, turns_per_day=turns_per_day, quantile=quantile, most=most,
                )  # fmt: skip
            finally:
                record.close()
    emit(found.to_dict()) if as_json else print(_text(found))


def _time(option: str, text: str | None) -> float | None:
    """A time as seconds since 1970; one without a zone is UTC."""
    if text is None:
        return None
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} {text} is no time; accepted: 2026-01-31, 2026-01-31 12:00 or 2026-01-31T12:00:00+01:00"
        ) from None
    return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()


def _text(found: Baseline) -> str:
    from equipoise.stats.estimate import NotEstimable

    parts = [
        found.experiment,
        f"{moment(found.since)} to {moment(found.until)} UTC, {found.turns:,} turns; {found.arm} is what is stable. "
        f"Watches are reckoned with {found.turns_per_day:,.0f} turns a day"
        + (", shared out by the allocation." if found.divided else "."),
        "",
    ]
    known = [each for each in found.metrics if not isinstance(each, NotEstimable)]
    if known:
        parts.append(
            rows(
                ["metric", "windows", "of", "mean", "median", "spread", "robust", f"q {found.quantile:g}",
                 "alike", "effective", "wider by"],
                [
                    [
                        each.metric, f"{each.series.windows:,}", f"{each.window:g} s", _number(each.series.mean),
                        _number(each.series.median), _number(each.series.spread), _number(each.series.robust_spread),
                        _number(each.series.limit), _number(each.series.autocorrelation, ".2f"),
                        _number(each.series.effective, ",.0f"), _number(each.dispersion, ".2f") + "*" * each.wider,
                    ]
                    for each in known
                ],
            )
        )  # fmt: skip
    if any(each.wider for each in known):
        parts.append(
            "* windows vary more than the readings in them, and forecasts of limits that are numbers know it"
        )
    parts += [f"not estimable: {each.reason}" for each in found.metrics if isinstance(each, NotEstimable)]
    for each in found.watches:
        parts += [
            "",
            *([f"not estimable: {each.reason}"] if isinstance(each, NotEstimable) else _watch(each, found)),
        ]
    proposals = [
        each.proposal
        for each in found.watches
        if not isinstance(each, NotEstimable) and not isinstance(each.proposal, NotEstimable)
    ]
    if proposals:
        from equipoise.design.false_alarms import words

        parts += ["", f"# at most {found.most:g} false actions a week each; a definition is frozen, so these are numbers",
                  "watches:", *(f"  - {words(each.watch)}" for each in proposals)]  # fmt: skip
    return "\n".join(parts)


def _watch(each: WatchBaseline, found: Baseline) -> list[str]:
    from equipoise.stats.estimate import NotEstimable

    alarms, actions = (sum(counts) for counts in zip(*each.seen.values(), strict=True))
    by_arm = ", ".join(f"{arm} {streaks.actions:.3g}" for arm, streaks in each.expected.items())
    wrong = f"{each.breached:.3%} of windows breached, {each.alarms:.3g} alarms and {each.actions:.3g} actions a week"
    lines = [
        each.says,
        f"  where nothing is wrong: {wrong} ({by_arm})",
        f"  in the {found.weeks:.3g} weeks as they were: {alarms:,} alarms, {actions:,} actions",
        f"  acts in its window {each.persist} where things are {_chances(each.caught)}",
    ]
    if isinstance(each.proposal, NotEstimable):
        return [*lines, f"  no other limit is proposed: {each.proposal.reason}"]
    watch = each.proposal.watch
    lines.append(
        f"  at {watch.bound}: {each.proposal.actions:.3g} actions a week; acts so where "
        f"things are {_chances(each.proposal.caught)}"
    )
    return lines


def _chances(caught: Sequence[Caught]) -> str:
    return ", ".join(f"× {each.factor:g}: {_number(each.chance, '.1%')}" for each in caught)


def _number(value: float | NotEstimable, form: str = ".4g") -> str:
    from equipoise.stats.estimate import NotEstimable

    return "–" if isinstance(value, NotEstimable) else format(value, form)
