"""What must fit together under `offline`: judge, rubric, evaluators, labels and gate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from equipoise.errors import Fault, nearest
from equipoise.experiment.document import Document
from equipoise.experiment.document import Path as FieldPath
from equipoise.experiment.evaluators import evaluator_faults, measures_of
from equipoise.experiment.form import Form, OfflineForm

__all__ = ["offline_faults"]

Found = Iterator[tuple[FieldPath, Fault]]


def offline_faults(form: Form, document: Document) -> Found:
    """Everything wrong with the offline gate that no single key shows."""
    if form.offline is not None:
        for check in (_judge, _gate, _evaluators):
            yield from check(form.offline, document)


def _judge(offline: OfflineForm, document: Document) -> Found:
    if offline.judge is None:
        return
    judge = offline.judge
    path: FieldPath = ("offline", "judge")

    def fault(
        at: FieldPath, problem: str, accepted: str | None = None, advice: str | None = None
    ) -> tuple[FieldPath, Fault]:
        return at, document.fault(at, problem, accepted=accepted, next=advice)

    recorded = not isinstance(judge.pairwise, bool)
    if judge.model is None and not judge.panel and not recorded and judge.grades is None:
        yield fault(
            path,
            "a judge is a model to ask, several of them, or verdicts recorded earlier",
            "model, panel, pairwise or grades",
        )
    if judge.model is not None and judge.panel:
        yield fault(
            (*path, "panel"),
            "a judge is one model or a panel of them, not both",
            None,
            "list the model as one of the panel",
        )
    if judge.grades is not None and offline.rubric is None:
        yield fault(path, "grades are read by the axes of a rubric", None, "add `rubric:` to offline")


def _gate(offline: OfflineForm, document: Document) -> Found:
    judge, gate = offline.judge, offline.gate
    compares = judge is not None and judge.pairwise is not False
    path: FieldPath = ("offline", "gate")

    def fault(
        at: FieldPath, problem: str, accepted: str | None = None, advice: str | None = None
    ) -> tuple[FieldPath, Fault]:
        return at, document.fault(at, problem, accepted=accepted, next=advice)

    if gate.win_rate is not None and not compares:
        yield fault(
            (*path, "win_rate"),
            "a win rate needs a judge that compares",
            None,
            "add `judge:` to offline, or ask for `pass_rate` or a measure under `metrics`",
        )
    measures = measures_of(offline.evaluators, tuple(offline.rubric.axes or ()) if offline.rubric else ())
    # The axes of a rubric in a file are not known here; the arena asks again when it has read them.
    known = offline.rubric is None or offline.rubric.file is None
    for name in gate.metrics:
        if known and name not in measures and name not in ("pass_rate", "win_rate"):
            at: FieldPath = (*path, "metrics", name)
            yield fault(
                at,
                f"no evaluator measures '{name}'",
                ", ".join(measures) or "the names of evaluators and axes",
                nearest(name, measures),
            )
    if offline.labels is not None and not compares:
        yield fault(("offline", "labels"), "labels correct a judge that compares, and there is none")


def _evaluators(offline: OfflineForm, document: Document) -> Found:
    written = "checks" if "checks" in _keys(document) else "evaluators"
    for each in evaluator_faults(offline.evaluators, offline.gate.must_pass):
        place = (written, *each.path[1:]) if each.path[0] == "evaluators" else each.path
        path: FieldPath = ("offline", *place)
        yield path, document.fault(path, each.problem, accepted=each.accepted, next=each.next)


def _keys(document: Document) -> tuple[str, ...]:
    """The keys that stand under `offline` in the file."""
    data = document.data
    offline = data.get("offline") if isinstance(data, Mapping) else None
    return tuple(offline) if isinstance(offline, Mapping) else ()
