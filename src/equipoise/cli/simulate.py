"""`equipoise simulate FILE`: the design, carried out a thousand times on units that are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from equipoise.cli.output import AsJson, LogPlace, caution, emit, progress, working
from equipoise.errors import UsageError

if TYPE_CHECKING:
    from equipoise.conduct.rehearsal.preparing import Drawn
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
            help="With --past log: the experiment whose lists are drawn (default: the file's own).",
            show_default=False,
        ),
    ] = None,
    arm: Annotated[str, typer.Option(help="The arm whose past units are drawn.")] = "control",
    icc: Annotated[
        float, typer.Option(help="How alike drawn units of one cluster are: the intraclass correlation.")
    ] = 0.0,
    cluster_size: Annotated[int, typer.Option(help="How many drawn units a cluster has.")] = 1,
    whole_clusters: Annotated[
        bool,
        typer.Option(
            "--whole-clusters", help="Give a cluster's units one arm, as where teams are randomised."
        ),
    ] = False,
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
    population = _population(experiment, past, like, arm, icc, cluster_size, log, seed)
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


def _population(
    experiment: Experiment,
    past: str | None,
    like: str | None,
    arm: str,
    icc: float,
    cluster_size: int,
    log: str | None,
    seed: int,
) -> Drawn:
    from equipoise import settings
    from equipoise.events.opening import open_log
    from equipoise.measurement.population import Assumed, past_units_of_log, past_units_of_table

    if like is not None and (past != "log" or experiment.method != "interleaving"):
        raise UsageError(
            "--like names the experiment whose lists are drawn, of rankers that share them; say --past log with it"
        )
    if past is None:
        if icc and cluster_size == 1:
            raise UsageError("--icc is about units of one cluster; say how many those are: --cluster-size")
        if experiment.method == "interleaving":
            from equipoise.conduct.rehearsal.clicks import AssumedSearches

            return AssumedSearches(experiment, icc, cluster_size, seed)
        return Assumed(experiment, icc, cluster_size)
    if icc or cluster_size != 1:
        raise UsageError("past units are as alike as they were; leave --icc and --cluster-size out")
    names = [variant.name for variant in experiment.variants]
    if arm not in names:
        raise UsageError(f"there is no variant '{arm}'; accepted: {', '.join(names)}")
    shared = experiment.method == "interleaving"
    if shared and past != "log":
        raise UsageError("lists that rankers share are in a log, and in no table; accepted: --past log")
    if shared and arm != "control":
        raise UsageError("every ranker had its items in the past lists; leave --arm out")
    with working("reading past lists" if shared else "reading past units"):
        if past == "log":
            record = open_log(log or settings.default_log(), create=False)
            try:
                if shared:
                    from equipoise.conduct.past_lists import past_lists

                    return past_lists(record, like or experiment.name, experiment)
                return past_units_of_log(experiment, record, arm=arm)
            finally:
                record.close()
        return past_units_of_table(experiment, None if past == "source" else past, arm=arm)
