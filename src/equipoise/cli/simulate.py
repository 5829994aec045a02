"""`equipoise simulate FILE`: the design, carried out a thousand times on units that are drawn."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from equipoise.cli.output import AsJson, LogPlace, caution, emit, progress, working
from equipoise.errors import UsageError

if TYPE_CHECKING:
    from equipoise.conduct.rehearsal.preparing import Drawn
    from equipoise.events.log import EventLog
    from equipoise.experiment.definition import Experiment

__all__ = ["simulate"]


def simulate(
    file: Annotated[Path, typer.Argument(help="The experiment file.")],
    runs: Annotated[
        int | None,
        typer.Option(
            help="How often each scenario is carried out (default: 500, of a bandit 100).", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same runs.")] = 0,
    units_per_day: Annotated[
        float | None, typer.Option(help="Units enrolled per day.", show_default=False)
    ] = None,
    every: Annotated[str, typer.Option(help="The time between two looks at the experiment.")] = "1d",
    horizon: Annotated[str, typer.Option(help="How long what was decided is lived with.")] = "90d",
    past: Annotated[
        str | None,
        typer.Option(
            metavar="log|source|TABLE",
            help="Draw past units again: of the experiment's log, of the table that the file names, or of another one.",
            show_default=False,
        ),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="With --past log: the experiment whose units, lists or slots are drawn (default: the file's own).",
            show_default=False,
        ),
    ] = None,
    arm: Annotated[str, typer.Option(help="The arm whose past units are drawn.")] = "control",
    icc: Annotated[
        float, typer.Option(help="How alike drawn units of one cluster are: the intraclass correlation.")
    ] = 0.0,
    cluster_size: Annotated[
        int, typer.Option(help="How many drawn units a cluster has (searches a person, turns a slot).")
    ] = 1,
    whole_clusters: Annotated[
        bool,
        typer.Option(
            "--whole-clusters", help="Give a cluster's units one arm, as where teams are randomised."
        ),
    ] = False,
    autocorrelation: Annotated[
        float, typer.Option(help="Of a switchback: how alike drawn slots are that follow each other.")
    ] = 0.0,
    carry_over: Annotated[
        str | None,
        typer.Option(help="Of a switchback: how long an arm works on after its slot.", show_default=False),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this scenario; may be given again.", show_default=False)
    ] = None,
    aa: Annotated[
        bool, typer.Option("--aa", help="An A/A test and nothing else: no arm differs from control.")
    ] = False,
    processes: Annotated[
        int | None, typer.Option(help="Processes at work (default: one a core).", show_default=False)
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Also write a page (.html) with pictures.", show_default=False)
    ] = None,
    log: LogPlace = None,
    as_json: AsJson = False,
) -> None:
    """Rehearse the design: false positives, power, duration, who is exposed to a bad arm, and what is lost on the way."""
    from equipoise.cli.simulate_text import rehearsal_text
    from equipoise.conduct.rehearse import rehearse
    from equipoise.experiment.reading import read_definition

    if aa and only:
        raise UsageError("--aa is one scenario, and --only names others; leave one of them out")
    if report is not None and report.suffix != ".html":
        raise UsageError(f"a rehearsal's report is a page, and {report.name} is none; accepted: NAME.html")
    pauses = {name: _duration(f"--{name}", text) for name, text in (("every", every), ("horizon", horizon))}
    reading = read_definition(file)
    caution(reading.warnings)
    experiment = reading.experiment
    lasts = None if carry_over is None else _duration("--carry-over", carry_over)
    asked = _Asked(past, like, arm, icc, cluster_size, autocorrelation, lasts, log, seed)
    with nullcontext() if past is None else working("reading the past"):
        population = _population(experiment, asked)
    with progress("rehearsing") as told:
        found = rehearse(
            experiment,
            population,
            runs=(100 if experiment.method == "bandit" else 500) if runs is None else runs,
            seed=seed,
            units_per_day=units_per_day,
            every=pauses["every"],
            horizon_days=pauses["horizon"] / 86_400.0,
            only=["nothing"] if aa else only or (),
            whole_clusters=whole_clusters,
            processes=processes,
            progress=told,
        )
    saved = None
    if report is not None:
        from equipoise.conduct.rehearsal.page import rehearsal_page
        from equipoise.files import write_whole

        write_whole(report, rehearsal_page(found, experiment.hypothesis))
        saved = str(report)
    if as_json:
        emit(found.to_dict() | ({} if saved is None else {"report": saved}))
        return
    print(rehearsal_text(found))
    if saved is not None:
        print(f"\nReport: {saved}")


def _duration(option: str, text: str) -> float:
    from equipoise.experiment.amount import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise UsageError(f"{option} {text} is no length of time; accepted: 12h, 1d, 2w")
    return seconds


@dataclass(frozen=True, slots=True)
class _Asked:
    """What was asked of where units come from."""

    past: str | None
    like: str | None
    arm: str
    icc: float
    cluster_size: int
    autocorrelation: float
    carry_over: float | None
    log: str | None
    seed: int


def _population(experiment: Experiment, asked: _Asked) -> Drawn:
    _check(experiment, asked)
    if asked.past is None:
        return _assumed(experiment, asked)
    if asked.past == "log":
        from equipoise import settings
        from equipoise.events.opening import open_log

        record = open_log(asked.log or settings.default_log(), create=False)
        try:
            return _of_log(experiment, record, asked)
        finally:
            record.close()
    from equipoise.measurement.rehearsed.population import past_units_of_table

    return past_units_of_table(experiment, None if asked.past == "source" else asked.past, arm=asked.arm)


def _check(experiment: Experiment, asked: _Asked) -> None:
    """Refuse what does not go with the method, or with the past."""
    shared, slots = experiment.method == "interleaving", experiment.method == "switchback"
    if asked.like is not None and asked.past != "log":
        raise UsageError("--like names the experiment whose past is drawn; say --past log with it")
    if (asked.autocorrelation or asked.carry_over is not None) and not slots:
        raise UsageError("--autocorrelation and --carry-over are about time slots; leave them out")
    names = [variant.name for variant in experiment.variants]
    if asked.past is None:
        if asked.icc and asked.cluster_size == 1:
            raise UsageError("--icc is about units of one cluster; say how many those are: --cluster-size")
        return
    if asked.icc or asked.cluster_size != 1:
        raise UsageError("past units are as alike as they were; leave --icc and --cluster-size out")
    if asked.autocorrelation:
        raise UsageError("past slots are as alike as they were; leave --autocorrelation out")
    if asked.arm not in names and asked.like is None:
        raise UsageError(f"there is no variant '{asked.arm}'; accepted: {', '.join(names)}")
    if (shared or slots) and asked.past != "log":
        what = "lists that rankers share" if shared else "past slots"
        raise UsageError(f"{what} are in a log, and in no table; accepted: --past log")
    if shared and asked.arm != "control":
        raise UsageError("every ranker had its items in the past lists; leave --arm out")
    if slots and asked.arm != "control":
        raise UsageError("past slots are those of control; leave --arm out")


def _assumed(experiment: Experiment, asked: _Asked) -> Drawn:
    from equipoise.conduct.rehearsal.clicks import AssumedSearches
    from equipoise.conduct.rehearsal.slots import assumed_slots
    from equipoise.measurement.rehearsed.population import Assumed

    if experiment.method == "interleaving":
        return AssumedSearches(experiment, asked.icc, asked.cluster_size, asked.seed)
    if experiment.method == "switchback":
        return assumed_slots(
            experiment,
            autocorrelation=asked.autocorrelation,
            turns=asked.cluster_size,
            icc=asked.icc if asked.cluster_size > 1 else None,
            carry_over=asked.carry_over or 0.0,
        )
    return Assumed(experiment, asked.icc, asked.cluster_size)


def _of_log(experiment: Experiment, record: EventLog, asked: _Asked) -> Drawn:
    from equipoise.conduct.past.lists import past_lists
    from equipoise.conduct.past.slots import past_slots_of_means
    from equipoise.conduct.past.units import past_units
    from equipoise.conduct.rehearsal.slots import slots_like

    name = asked.like or experiment.name
    if experiment.method == "interleaving":
        return past_lists(record, name, experiment)
    if experiment.method == "switchback":
        past = past_slots_of_means(record, name, experiment)
        return slots_like(experiment, past, carry_over=asked.carry_over or 0.0)
    return past_units(record, name, experiment, arm=asked.arm)
