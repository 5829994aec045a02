"""What must fit together under `capture`: which texts are kept, and what is redacted from them."""

from __future__ import annotations

from collections.abc import Iterator

from equipoise.errors import Fault, nearest
from equipoise.experiment.definition import Experiment
from equipoise.experiment.document import Document
from equipoise.experiment.document import Path as FieldPath
from equipoise.experiment.form import Form

__all__ = ["REDACTED", "capture_faults", "online_judge_cautions"]

REDACTED = ("card", "email", "iban", "ip", "nothing", "phone", "pii", "secrets", "ssn")
"""What `capture.redact` may list. `pii` is all of it, `nothing` stands alone."""

_DAY = 86_400.0
_LONGEST = 3_650 * _DAY
_LABELLED = 2 * _DAY
"""A day's part of the audit set is drawn when the day is over; then somebody needs a day to read it."""


def capture_faults(form: Form, document: Document) -> Iterator[tuple[FieldPath, Fault]]:
    """Everything wrong with the capture of texts that no single key shows."""
    capture = form.capture
    for index, name in enumerate(capture.redact):
        if name not in REDACTED:
            path: FieldPath = ("capture", "redact", index)
            yield (
                path,
                document.fault(
                    path,
                    f"nothing called '{name}' is known that could be redacted",
                    accepted=", ".join(REDACTED),
                    next=nearest(name, REDACTED),
                ),
            )
    if "nothing" in capture.redact and len(set(capture.redact)) > 1:
        path = ("capture", "redact")
        yield (
            path,
            document.fault(
                path, "text is either kept as it was or redacted", accepted="[nothing], or a list without it"
            ),
        )
    path = ("capture", "share")
    if capture.share is not None and capture.text != "sampled":
        yield (
            path,
            document.fault(
                path,
                f"a share belongs to a sample, and `text` is {capture.text}",
                next="set `text: sampled`, or leave the share out",
            ),
        )
    elif capture.share == 0:
        yield path, document.fault(path, "a sample of nothing keeps nothing", accepted="more than 0")
    elif capture.share is not None and form.online_judge and form.online_judge.sample > capture.share:
        yield (
            path,
            document.fault(
                path,
                f"the online judge reads {form.online_judge.sample} of the turns and only {capture.share} are kept",
                accepted="at least the judge's sample",
            ),
        )
    yield from _strata(form, document)
    path = ("capture", "keep")
    if not 0 < capture.keep <= _LONGEST:
        yield (
            path,
            document.fault(
                path, "texts are kept for a while, and not for ever", accepted="more than 0, at most 3650d"
            ),
        )


def online_judge_cautions(experiment: Experiment, document: Document) -> Iterator[Fault]:
    """What an online judge lacks to do anything."""
    if experiment.online_judge is None:
        return
    if not experiment.text_share:
        yield document.fault(
            ("online_judge",),
            "the online judge has nothing to read: no texts are kept",
            next="add `capture: {text: sampled}`",
        )
    offline = experiment.offline
    if offline is None or not (offline.rubric or offline.evaluators or offline.gate.must_pass):
        yield document.fault(
            ("online_judge",),
            "the online judge has nothing to judge by, as golden cases are judged by nothing",
            next="add under `offline:` a rubric and a judge, or evaluators",
        )
    if experiment.online_judge.labels_per_week is not None and experiment.capture.keep < _LABELLED:
        yield document.fault(
            ("capture", "keep"),
            "people label turns from the day after them on, and by then their texts are gone",
            accepted="at least 2d beside `labels_per_week`, and better a week or more",
        )


def _strata(form: Form, document: Document) -> Iterator[tuple[FieldPath, Fault]]:
    """What must hold where the online judge reads more of some than of others."""
    judge = form.online_judge
    if judge is None or (judge.by is None and not judge.shares):
        return
    path: FieldPath = ("online_judge", "shares")
    if judge.by is None or not judge.shares:
        said = "shares of what" if judge.by is None else "no shares"
        yield (
            ("online_judge",),
            document.fault(
                ("online_judge",),
                f"`by` and `shares` belong together, and this has {said}",
                accepted="{by: device, shares: {mobile: 20%}}",
            ),
        )
        return
    if judge.by not in form.attributes:
        yield (
            ("online_judge", "by"),
            document.fault(
                ("online_judge", "by"),
                f"'{judge.by}' is not among the attributes",
                accepted=", ".join(form.attributes) or "an attribute declared under `attributes:`",
                next=nearest(judge.by, form.attributes),
            ),
        )
    for value, share in judge.shares.items():
        if share == 0:
            yield (
                (*path, value),
                document.fault(
                    (*path, value), "a stratum of which nothing is read tells nothing", accepted="more than 0"
                ),
            )
    if form.capture.text != "sampled" or form.capture.share is not None:
        yield (
            ("online_judge", "by"),
            document.fault(
                ("online_judge", "by"),
                "where the judge reads more of some than of others, its shares say which texts are kept",
                next="set `capture: {text: sampled}`, and leave `capture.share` out",
            ),
        )
