"""Calibration: hold the judges of an experiment against what people said of the same turns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import orjson

from equipoise.conduct.ledger import registered
from equipoise.errors import RecordError
from equipoise.events.bodies import bodies_of
from equipoise.events.facts import Label
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.measurement.counted import number
from equipoise.measurement.labels import Answered, answered

if TYPE_CHECKING:
    from equipoise.analysis.calibration import Calibration

__all__ = ["calibration", "calibrations", "labels_until"]


def calibration(log: EventLog, name: str) -> tuple[Calibration, ...]:
    """The calibrations of a registered experiment; RecordError where nothing of that name is registered."""
    experiment, _, _ = registered(log, name)
    return calibrations(log, experiment)


def calibrations(
    log: EventLog, experiment: Experiment, *, until: int | None = None
) -> tuple[Calibration, ...]:
    """One calibration for each score and evaluator, by score and then by when the series began.

    Reads the log up to the position `until`. A label belongs to the score of its name on its turn; of several scores
    that one evaluator gave a turn, to the last. Scores without a number count for nothing. Nothing is said where
    nobody labelled anything and no audit is declared.
    """
    head = log.head() if until is None else until
    said = answered(labels_until(log, experiment.name, head))
    audit = experiment.online_judge
    declared = audit is not None and audit.audited
    if not said and not declared:
        return ()
    from equipoise.analysis.calibration import Labelled, Series, calibrate

    series: dict[tuple[str, str], list[float]] = {}
    rules: set[tuple[str, str]] = set()
    held: dict[tuple[str, str], dict[str, tuple[_Scored, Answered]]] = defaultdict(dict)
    for score in _scores(log, experiment.name, head):
        key = score.name, score.evaluator
        times = series.setdefault(key, [0, score.happened, score.happened])
        times[:] = [times[0] + 1, min(times[1], score.happened), max(times[2], score.happened)]
        if score.rule:
            rules.add(key)
        found = said.get((score.name, score.item))
        if found is not None:
            held[key][score.item] = score, found
    return tuple(
        calibrate(
            Series(score=name, evaluator=evaluator, scored=int(scored), first=first, last=last),
            [
                Labelled(
                    score=score.value,
                    said=found.values,
                    unit=score.unit,
                    weight=1.0 / found.probability,
                    at_random=found.drawn == "audit",
                )
                for score, found in held[name, evaluator].values()
            ],
            threshold=None if audit is None else audit.threshold,
            minimum=None if audit is None else audit.minimum_agreement,
        )
        for (name, evaluator), (scored, first, last) in sorted(
            series.items(), key=lambda entry: (entry[0][0], entry[1][1], entry[0][1])
        )
        # A rule is nobody's opinion, and asks for no labels; people may say all the same how good it is.
        if (name, evaluator) not in rules or held[name, evaluator]
    )


def labels_until(log: EventLog, name: str, until: int) -> list[Label]:
    """The labels of an experiment up to a position in the log, in the order of acceptance."""
    found = []
    for record in log.read_since(0, experiment=name, kinds=("label",)):
        if record.position > until:
            break
        assert isinstance(record.fact, Label)
        found.append(record.fact)
    return found


class _Scored(NamedTuple):
    name: str
    evaluator: str
    item: str
    unit: str
    value: float
    happened: float
    rule: bool


def _scores(log: EventLog, name: str, until: int) -> Iterator[_Scored]:
    """The scores that are numbers: read as they are kept, since there may be a great many and few are labelled."""
    for page in bodies_of(log, name, "score", until=until):
        for _, happened, _, body in page:
            try:
                told = orjson.loads(body)
                value, drawn = number(told.get("value")), number(told.get("probability", 1.0))
                if value is None or drawn is None or not 0.0 < drawn <= 1.0:
                    continue
                item = told.get("trace") or told["unit"]
                rule = (told.get("configuration") or {}).get("kind") == "rule"
                yield _Scored(told["name"], told["evaluator"], item, told["unit"], value, happened, rule)
            except (orjson.JSONDecodeError, KeyError, AttributeError) as error:
                raise RecordError(f"a score of {name} in the log is damaged: {error}") from None
