"""From the form of the section `offline` to its values, reading the rubric that it names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from equipoise.errors import DefinitionError
from equipoise.experiment.amount import Amount
from equipoise.experiment.document import Path as FieldPath
from equipoise.experiment.document import read_document
from equipoise.experiment.form import (
    CasesForm,
    CriterionForm,
    GateForm,
    JudgeForm,
    LabelsForm,
    OfflineForm,
    RecordingForm,
    RubricFileForm,
    RubricForm,
)
from equipoise.experiment.named_files import NamedFiles
from equipoise.experiment.offline import (
    Cases,
    Criterion,
    Gate,
    Judge,
    Labels,
    Limits,
    Offline,
    Recording,
    Rubric,
    Show,
)
from equipoise.experiment.variant import freeze

__all__ = ["OfflineBuilder"]


class OfflineBuilder(NamedFiles):
    """Builds the section; what is wrong with it is among its `faults`."""

    def build(self, form: OfflineForm) -> Offline:
        answers = form.answers
        if answers is not None and (answers.file is None) == (answers.python is None):
            self.fault(
                ("offline", "answers"),
                "answers come from a file or from a Python function",
                "{file: …} or {python: app.py:answer}",
            )
        return Offline(
            cases=_cases(form.cases),
            samples=form.samples,
            answers=_recording(answers) if answers and answers.file else None,
            application=answers.python if answers else None,
            rubric=self._rubric(form.rubric),
            judge=_judge(form.judge),
            labels=self._labels(form.labels),
            evaluators=tuple(freeze(each) for each in form.evaluators),
            gate=self._gate(form.gate),
        )

    def _labels(self, form: LabelsForm | None) -> Labels | None:
        recording = _recording(form)
        return (
            None if form is None or recording is None else Labels(recording=recording, at_least=form.at_least)
        )

    def _gate(self, form: GateForm) -> Gate:
        declared: list[tuple[FieldPath, str, CriterionForm]] = []
        if form.win_rate is not None:
            declared.append((("win_rate",), "win_rate", form.win_rate))
        if form.pass_rate is not None:
            declared.append((("pass_rate",), "pass_rate", form.pass_rate))
        for name, given in sorted(form.metrics.items()):
            listed = given if isinstance(given, list) else [given]
            declared += [(("metrics", name), name, each) for each in listed]
        criteria = tuple(self._criterion(("offline", "gate", *path), of, each) for path, of, each in declared)
        return Gate(
            # What is usual may be left out, and means the same written down.
            criteria=() if criteria == (Criterion(of="win_rate", margin=Amount(0.10)),) else criteria,
            must_pass=tuple(sorted(set(form.must_pass))),
            at_most=freeze(form.at_most),
            limits=Limits(
                unscored=float(form.limits.unscored),
                lean=_maybe(float, form.limits.lean),
                kappa=form.limits.kappa,
                self_preference=_maybe(float, form.limits.self_preference),
            ),
            level=form.level,
            sequential=form.sequential,
        )

    def _criterion(self, path: FieldPath, of: str, form: CriterionForm) -> Criterion:
        if form.superior and form.not_worse:
            self.fault(path, "superior and not_worse cannot both be asked of one measure", "one of them")
        if form.worst is not None and of == "win_rate":
            self.fault(
                (*path, "worst"), "the win rate has no worst cases; ask it of a measure under `metrics`"
            )
        margin = form.margin
        if of == "win_rate":
            # A share of the coin's one half, or points of win rate.
            margin = Amount(0.10 if margin is None else margin.of(0.5))
        show: Show = "superior" if form.superior else "not_worse" if form.not_worse else "non_inferior"
        if of != "win_rate" and show == "non_inferior" and margin is None:
            if form.at_least is None:
                self.fault(
                    path,
                    "it is not said what the measure must show",
                    "{margin: 5pp}, {superior: true}, {not_worse: true} or {at_least: 0.9}",
                )
            else:
                show = "not_worse"
        return Criterion(
            of=of, show=show, margin=margin, worst=_maybe(float, form.worst), at_least=form.at_least
        )

    def _rubric(self, form: RubricFileForm | None) -> Rubric | None:
        if form is None:
            return None
        path: FieldPath = ("offline", "rubric")
        if (form.file is None) == (form.axes is None):
            self.fault(path, "a rubric has either axes or a file", "{axes: …} or a path")
            return None
        for key, called in (("top", "scale"), ("revision", "revision")):
            if form.file is not None and key in form.model_fields_set:
                self.fault((*path, key), f"the {called} of a rubric in a file is written in that file")
        if form.axes is not None:
            return Rubric(freeze(form.axes), form.top, form.revision)
        text = self.text(form.file or "", path, "the rubric")
        if text is None:
            return None
        try:
            inner = read_document(text, str((self.folder or Path()) / (form.file or "")))
            self.faults += [(path, fault) for fault in inner.faults]
            rubric = RubricForm.model_validate(inner.data)
        except DefinitionError as error:
            self.faults += [(path, fault) for fault in error.faults]
            return None
        except ValidationError as error:
            # One fault per place: pydantic says of a wrong key that its value is wrong, too.
            places = dict.fromkeys(
                tuple(step for step in detail["loc"] if step != "[key]")
                for detail in error.errors(include_url=False)
            )
            self.faults += [
                (
                    path,
                    inner.fault(
                        place,
                        "this is no part of a rubric",
                        accepted="axes: {NAME: a sentence, …}, and top: a whole number from 2 to 10",
                    ),
                )
                for place in places
            ]
            return None
        return Rubric(freeze(rubric.axes), rubric.top, rubric.revision)


def _maybe(convert: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else convert(value)


def _cases(form: CasesForm) -> Cases:
    return Cases(
        file=form.file,
        format=form.format,
        id=form.id,
        input=form.input,
        reference=form.reference,
        sha256=form.sha256,
    )


def _recording(form: RecordingForm | None) -> Recording | None:
    if form is None or not form.file:
        return None
    return Recording(
        file=form.file,
        case=form.case,
        variant=form.variant,
        value=form.value,
        first=form.first,
        names=freeze(form.names),
    )


def _judge(form: JudgeForm | None) -> Judge | None:
    if form is None:
        return None
    recorded = form.pairwise if isinstance(form.pairwise, RecordingForm) else None
    return Judge(
        model=form.model,
        base_url=form.base_url,
        key_env=form.key_env,
        params=freeze(form.params),
        requests_per_minute=form.requests_per_minute,
        tokens_per_minute=form.tokens_per_minute,
        pairwise=_recording(recorded),
        grades=_recording(form.grades),
        compares=form.pairwise is not False,
        both_orders=form.both_orders,
        samples=form.samples,
        panel=tuple(
            Judge(
                model=each.model,
                base_url=each.base_url,
                key_env=each.key_env,
                params=freeze(form.params | each.params),
                requests_per_minute=each.requests_per_minute or form.requests_per_minute,
                tokens_per_minute=each.tokens_per_minute or form.tokens_per_minute,
            )
            for each in form.panel
        ),
        sha256=form.sha256,
    )
