"""`equipoise label NAME|FILE`: people say which answer is better, or how good one is; and what they said."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from equipoise.cli.output import AsJson, LogPlace, caution, emit, note, working
from equipoise.errors import UsageError, nearest

if TYPE_CHECKING:
    from equipoise.conduct.labelling.items import Source
    from equipoise.conduct.labelling.task import Settings
    from equipoise.conduct.labelling.turns import Disagreement
    from equipoise.events.log import EventLog
    from equipoise.events.texts import TextStore
    from equipoise.experiment.definition import Experiment

__all__ = ["label"]

_OUT = Path("equipoise-out")


def label(
    what: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            help="A registered experiment (its live turns), or a definition (the cases of its arena run).",
        ),
    ],
    ask: Annotated[
        str, typer.Option(help="What is asked: preference, grades (the rubric's axes) or thumbs.")
    ] = "preference",
    run: Annotated[
        Path | None,
        typer.Option(
            help="A run of the arena whose cases are labelled (default for a FILE: equipoise-out/NAME.arena.json).",
            show_default=False,
        ),
    ] = None,
    results: Annotated[bool, typer.Option("--results", help="Say what people said, and ask nobody.")] = False,
    csv: Annotated[
        Path | None,
        typer.Option(help="With --results: where to write preferences, as `offline.labels` takes them."),
    ] = None,
    rater: Annotated[
        str | None,
        typer.Option(help="Who labels (default: asked on the page; in the terminal, $EQUIPOISE_USER)."),
    ] = None,
    share: Annotated[
        str | None,
        typer.Option(
            help="The probability with which an item is drawn (default: 1, or what the definition's audit says).",
            show_default=False,
        ),
    ] = None,
    overlap: Annotated[str, typer.Option(help="The share of items that several raters label.")] = "0",
    raters: Annotated[int, typer.Option(min=2, help="How many raters label those.")] = 2,
    disagreements: Annotated[
        int,
        typer.Option(
            min=0, help="So many turns more, where judge and outcome disagree; of each week under an audit."
        ),
    ] = 0,
    score: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[>=LEVEL]",
            help="For --disagreements: the judge's score, and from where on it passes.",
        ),
    ] = None,
    outcome: Annotated[
        str | None, typer.Option(help="For --disagreements: the outcome (default: the primary metric's).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn, and in which order it is shown.")] = 0,
    terminal: Annotated[
        bool, typer.Option("--terminal", help="Ask here, by keys, and serve no page.")
    ] = False,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on; 0 for any.")] = 8090,
    log: LogPlace = None,
    as_json: AsJson = False,
) -> None:
    """Ask people: a page on this machine that shows answers blind, in an order drawn for each; --results reads it out.

    The page wants the key in EQUIPOISE_KEY where one is set, and beyond this machine (--host) one must be.
    """
    from equipoise import settings
    from equipoise.conduct.labelling.items import ASKS
    from equipoise.conduct.labelling.task import Settings, rater_name
    from equipoise.conduct.labels import Labelling

    place = log or settings.default_log()
    if results:
        _tell(place, what, run, csv=csv, as_json=as_json)
        return
    if ask not in ASKS:
        offer = nearest(ask, list(ASKS))
        raise UsageError(
            f"'{ask}' is nothing that is asked; accepted: {', '.join(ASKS)}" + (f"; {offer}" if offer else "")
        )
    if csv is not None:
        raise UsageError("--csv writes what people said; say --results with it")
    if terminal and as_json:
        raise UsageError("--terminal talks with a person and not in JSON; leave out one of them")
    if terminal and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("--terminal reads keys, and this is no terminal; leave it out to serve a page")
    task = Settings(ask=ask, overlap=_share(overlap), raters=raters, seed=seed)
    drawing = _Drawing(None if share is None else _share(share), disagreements, score, outcome)
    with _drawn(place, what, run, task, drawing) as (record, experiment, source):
        labelling = Labelling(record, experiment, source, task)
        if terminal:
            if not source.items:
                raise UsageError(_nothing_yet(experiment, source, ask))
            from equipoise.cli.label_terminal import label_here

            label_here(labelling, rater_name(rater or settings.user()))
            return
        from equipoise.dashboard.serving import serve_labelling

        def ready(found: int) -> None:
            url = f"http://{f'[{host}]' if ':' in host else host}:{found}/"
            if as_json:
                sys.stdout.write(json.dumps({"url": url, "items": len(source.items)}) + "\n")
            else:
                if not source.items:
                    note(_nothing_yet(experiment, source, ask))
                note(f"{len(source.items)} items to label at {url} (Ctrl-C stops it)")
                week = labelling.progress("").week
                if week is not None:
                    note(f"audit set of {week.week}: {week.says}")
            sys.stdout.flush()

        serve_labelling(
            labelling,
            host=host,
            port=port,
            key=settings.variable("EQUIPOISE_KEY"),
            rater=None if rater is None else rater_name(rater),
            ready=ready,
        )


@dataclass(frozen=True, slots=True)
class _Drawing:
    """What is drawn, as it was said."""

    share: float | None
    disagreements: int
    score: str | None
    outcome: str | None


@contextmanager
def _drawn(
    place: str, what: str, run: Path | None, task: Settings, drawing: _Drawing
) -> Iterator[tuple[EventLog, Experiment, Source]]:
    """The log, the experiment and its items, while they are labelled."""
    from equipoise.events.opening import open_log

    if _is_definition(what):
        experiment = _definition(what)
        # What is wrong is said before a log is made: the labels of a run are the first that some logs hear of.
        source = _cases(experiment, run, task, drawing)
        with closing(open_log(place)) as record:
            yield record, experiment, source
        return
    with closing(open_log(place, create=False)) as record:
        experiment = _registered(record, what)
        if run is not None:
            yield record, experiment, _cases(experiment, run, task, drawing)
            return
        disputed = _disagreement(experiment, drawing)
        with _texts(place) as texts:
            yield record, experiment, _turns(record, texts, experiment, task, drawing, disputed)


def _is_definition(what: str) -> bool:
    return what.endswith((".yaml", ".yml")) or os.path.isfile(what)


def _definition(what: str) -> Experiment:
    from equipoise.experiment.reading import read_definition

    reading = read_definition(Path(what))
    caution(reading.warnings)
    return reading.experiment


def _registered(record: EventLog, name: str) -> Experiment:
    from equipoise.conduct.ledger import registered

    return registered(record, name)[0]


@contextmanager
def _texts(place: str) -> Iterator[TextStore]:
    """The texts beside the log, while turns are labelled."""
    from equipoise.events.opening import open_texts
    from equipoise.events.texts import NoTextsError

    try:
        texts = open_texts(place, create=False)
    except NoTextsError:
        raise UsageError(
            "no text of a turn was kept beside this log, and people label what they can read. Keep texts with `capture` in "
            "the definition, or label the cases of an arena run with --run"
        ) from None
    try:
        yield texts
    finally:
        texts.close()


def _cases(experiment: Experiment, run: Path | None, task: Settings, drawing: _Drawing) -> Source:
    from equipoise.conduct.labelling.items import cases_of_run

    if drawing.disagreements:
        raise UsageError("--disagreements is of live turns, and cases have no outcome; leave it out")
    salt = f"{experiment.digest}:{task.seed}"
    share = 1.0 if drawing.share is None else drawing.share
    return cases_of_run(_run_of(experiment, run), experiment, task.ask, share=share, salt=salt)


def _run_of(experiment: Experiment, run: Path | None) -> Path:
    return run or _OUT / f"{experiment.name}.arena.json"


def _turns(
    record: EventLog,
    texts: TextStore,
    experiment: Experiment,
    task: Settings,
    drawing: _Drawing,
    disputed: Disagreement | None,
) -> Source:
    from equipoise.conduct.labelling.turns import live_turns, ration_of

    ration = ration_of(experiment, task.ask)
    if ration is not None and drawing.share is not None:
        raise UsageError(
            f"{experiment.name} says how many turns people label (`online_judge.audit.labels_per_week: {ration}`), and of "
            "two draws nobody could tell with which probability a turn was labelled. Leave out --share"
        )
    share = 1.0 if drawing.share is None else drawing.share
    salt = f"{experiment.digest}:{task.seed}"
    with working("drawing"):
        return live_turns(record, texts, experiment, task.ask, share=share, salt=salt, disagreement=disputed)


def _nothing_yet(experiment: Experiment, source: Source, ask: str) -> str:
    if source.ration is not None:
        return (
            f"there is nothing to label of {experiment.name} yet: its judge has read no turn of a day that is over (UTC). A "
            f"part of the {source.ration} turns of a week is drawn each day, when it is over"
        )
    return (
        f"there is nothing to label of {experiment.name} yet: no item with the texts that {ask} needs was drawn. A "
        "preference needs shadows; thumbs and grades need an answer whose text was kept. Or draw a larger --share"
    )


def _tell(place: str, what: str, run: Path | None, *, csv: Path | None, as_json: bool) -> None:
    from equipoise.cli.label_text import results_text
    from equipoise.conduct.labelling.results import label_results, labels_given, preferences_csv
    from equipoise.events.opening import open_log
    from equipoise.files import write_whole

    written = {}
    with closing(open_log(place, create=False)) as record:
        if _is_definition(what):
            experiment = _definition(what)
            run = _run_of(experiment, run)
        else:
            experiment = _registered(record, what)
        with working("reading"):
            found = label_results(record, experiment, run)
        if csv is not None:
            written["csv"] = str(write_whole(csv, preferences_csv(labels_given(record, experiment, run))))
    if as_json:
        emit(found.to_dict() | ({"written": written} if written else {}))
        return
    print(results_text(found))
    if csv is not None:
        print(f"\nPreferences: {csv}")


def _share(text: str) -> float:
    from equipoise.experiment.amount import parse_share

    try:
        return float(parse_share(text))
    except ValueError:
        raise UsageError(
            f"'{text}' is no share; accepted: a fraction, a number or a percentage, such as 1/4, 0.25 or 25%"
        ) from None


def _disagreement(experiment: Experiment, drawing: _Drawing) -> Disagreement | None:
    from equipoise.conduct.labelling.turns import Disagreement

    score, outcome = drawing.score, drawing.outcome
    if not drawing.disagreements:
        return None
    primary = experiment.primary.of
    named = outcome or (primary.name if primary.stream == "outcome" else None)
    if score is None or named is None:
        missing = "--score NAME[>=LEVEL]" if score is None else "--outcome NAME"
        raise UsageError(f"--disagreements needs to know what disagrees: say {missing}")
    name, at_least, level = (part.strip() for part in score.partition(">="))
    rubric = experiment.offline.rubric if experiment.offline is not None else None
    if at_least:
        try:
            bar = float(level)
        except ValueError:
            bar = math.nan
        if not math.isfinite(bar):
            raise UsageError(f"'{score}' is no score and level; write it as NAME>=LEVEL, such as 'policy>=4'")
    else:
        # The middle of the scale: of an axis from 1 to its top, else from 0 to 1.
        bar = (1.0 + rubric.top) / 2.0 if rubric is not None and name in rubric.axes else 0.5
    lower = any(
        metric.of.stream == "outcome" and metric.of.name == named and metric.better == "lower"
        for metric in experiment.metrics
    )
    return Disagreement(most=drawing.disagreements, score=name, bar=bar, outcome=named, lower_is_better=lower)
