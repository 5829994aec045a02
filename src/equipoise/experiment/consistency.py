"""What no single field can tell: names that must exist, shares that must add up, changes declared."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

from equipoise.errors import Fault, nearest
from equipoise.experiment.audience_checks import audience_faults
from equipoise.experiment.bandit_checks import bandit_faults
from equipoise.experiment.capture_checks import capture_faults, online_judge_cautions
from equipoise.experiment.catalogue import CATALOGUE
from equipoise.experiment.cluster_checks import cluster_cautions, cluster_faults
from equipoise.experiment.conversation_checks import conversation_faults
from equipoise.experiment.definition import Experiment
from equipoise.experiment.document import Document
from equipoise.experiment.document import Path as FieldPath
from equipoise.experiment.form import Form, SpendingForm
from equipoise.experiment.interleaving_checks import interleaving_faults
from equipoise.experiment.metric import PER_TURN
from equipoise.experiment.metric_checks import metric_cautions, metric_faults
from equipoise.experiment.offline import Recording
from equipoise.experiment.offline_checks import offline_faults
from equipoise.experiment.switchback_checks import switchback_cautions, switchback_faults
from equipoise.experiment.unknown_names import unknown_metric
from equipoise.experiment.variant import CHANGEABLE, Variant, differences
from equipoise.experiment.verdict_checks import verdict_faults
from equipoise.experiment.watch_checks import watch_cautions, watch_faults

__all__ = ["cautions", "inconsistencies"]

Found = Iterator[tuple[FieldPath, Fault]]


def inconsistencies(
    form: Form, document: Document, variants: tuple[Variant, ...], *, declared: bool = True
) -> list[tuple[FieldPath, Fault]]:
    """Every contradiction between fields, with the path it belongs to.

    `variants` are those of the form with their prompt files read, so that two files with one text agree.
    Unless `changes:` could be read (`declared`), nobody can say which differences are missing there.
    """
    checks = (
        _variants,
        _allocation,
        metric_faults,
        _looks,
        watch_faults,
        _segments,
        _source,
        offline_faults,
        audience_faults,
        bandit_faults,
        capture_faults,
        cluster_faults,
        conversation_faults,
        interleaving_faults,
        switchback_faults,
        verdict_faults,
    )
    return [
        *(found for check in checks for found in check(form, document)),
        *_change_names(form, document),
        *(_changes(form, document, variants) if declared else ()),
    ]


def cautions(experiment: Experiment, document: Document, folder: Path | None) -> Iterator[Fault]:
    """What is allowed and probably not meant."""
    if experiment.unit.type == "request":
        said = [
            text
            for text in (
                experiment.unit.source,
                experiment.cluster,
                *experiment.segments,
                *(() if experiment.source is None else experiment.source.columns.values()),
                None if experiment.source is None else experiment.source.unit,
            )
            if text and "conversation" in text.lower()
        ]
        if said:
            yield document.fault(
                ("unit",),
                f"requests are randomised although a conversation id is present ('{said[0]}'): "
                "one conversation may see several variants",
                next="use `unit: {type: conversation, from: …}` unless turns are truly independent",
            )
    primary = experiment.primary
    if (
        experiment.unit.type in ("conversation", "session")
        and primary.kind == "ratio"
        and primary.per in PER_TURN
    ):
        yield document.fault(
            ("metrics", primary.name),
            f"the primary is taken per turn, and how many turns a {experiment.unit.type} has is the arm's own doing",
            next=f"decide by what is per {experiment.unit.type}; the figure per turn stands beside it",
        )
    yield from watch_cautions(experiment, document)
    yield from metric_cautions(experiment, document)
    yield from cluster_cautions(experiment, document)
    yield from online_judge_cautions(experiment, document)
    yield from switchback_cautions(experiment, document)
    if experiment.offline is not None and folder is not None:
        offline = experiment.offline
        judge = offline.judge
        named: dict[FieldPath, str] = {("offline", "cases"): offline.cases.file}
        recordings: dict[FieldPath, Recording | None] = {
            ("offline", "answers"): offline.answers,
            ("offline", "labels"): offline.labels.recording if offline.labels else None,
            ("offline", "judge", "pairwise"): judge.pairwise if judge else None,
            ("offline", "judge", "grades"): judge.grades if judge else None,
        }
        for path, recording in recordings.items():
            if recording is not None:
                named[path] = recording.file
        for path, file in named.items():
            if not (folder / file).is_file():
                yield document.fault(path, f"{file} is not there yet", next="the arena will need it")


def _variants(form: Form, document: Document) -> Found:
    if "control" not in form.variants:
        path: FieldPath = ("variants",)
        yield (
            path,
            document.fault(
                path,
                "no variant is called control",
                accepted="exactly one variant named control, and one or more treatments",
                next=next(
                    (f"rename '{near}'?" for near in get_close_matches("control", form.variants, 1)), None
                ),
            ),
        )


def _allocation(form: Form, document: Document) -> Found:
    if form.allocation is None:
        return
    path: FieldPath = ("allocation",)
    for name in form.allocation:
        if name not in form.variants:
            here = (*path, name)
            yield (
                here,
                document.fault(
                    here,
                    f"there is no variant '{name}'",
                    accepted=", ".join(form.variants),
                    next=nearest(name, form.variants),
                ),
            )
    if missing := [name for name in form.variants if name not in form.allocation]:
        yield (
            path,
            document.fault(path, f"no share for {', '.join(missing)}", next="give every variant a share"),
        )
    total = sum(form.allocation.values(), Fraction(0))
    if total != 1:
        yield (
            path,
            document.fault(
                path,
                f"the shares add up to {total} ({float(total):.6g})",
                accepted="shares that add up to exactly 1",
                next="write thirds as 1/3" if abs(total - 1) < Fraction(1, 50) else None,
            ),
        )
    for name, share in form.allocation.items():
        if share == 0:
            here = (*path, name)
            yield (
                here,
                document.fault(here, "a share of 0 gives this variant no unit", accepted="more than 0"),
            )


def _change_names(form: Form, document: Document) -> Found:
    for index, change in enumerate(form.changes):
        here: FieldPath = ("changes", index)
        if change.split(".")[0] not in CHANGEABLE:
            yield (
                here,
                document.fault(
                    here,
                    f"'{change}' is not a part of a variant",
                    accepted=", ".join(CHANGEABLE) + ", or a path below one such as params.temperature",
                    next=nearest(change.split(".")[0], CHANGEABLE),
                ),
            )


def _changes(form: Form, document: Document, variants: tuple[Variant, ...]) -> Found:
    control, *treatments = variants
    if control.name != "control":
        return
    for treatment in treatments:
        name = treatment.name
        for path in dict.fromkeys(each.path for each in differences(control, treatment)):
            if any(path == change or path.startswith(change + ".") for change in form.changes):
                continue
            place: FieldPath = ("variants", name, *path.split("."))
            declared = ", ".join(form.changes) or "nothing"
            yield (
                place,
                document.fault(
                    place,
                    f"'{name}' differs from control in {path}, which `changes:` does not declare",
                    accepted=f"differences in {declared}",
                    next=f"add {path.split('.')[0]} to `changes:`, or make the variants agree",
                ),
            )


def _looks(form: Form, document: Document) -> Found:
    path: FieldPath = ("plan", "looks")
    looks = form.plan.looks
    if any(later <= earlier for earlier, later in pairwise(looks)):
        yield (
            path,
            document.fault(path, "looks must grow", accepted="increasing fractions of the information"),
        )
    elif looks[-1] != 1:
        yield path, document.fault(path, f"the last look is at {looks[-1]:g}", accepted="a last look at 1.0")
    plan = form.plan
    if plan.boundaries is not None:
        path = ("plan", "boundaries")
        if len(plan.boundaries) != len(looks):
            yield (
                path,
                document.fault(
                    path,
                    f"{len(plan.boundaries)} boundaries for {len(looks)} looks",
                    accepted="one boundary for each look",
                ),
            )
        if plan.spending is not None:
            yield (
                path,
                document.fault(
                    path,
                    "plain boundaries and a spending function both say when to stop",
                    accepted="either `boundaries` or `spending`",
                ),
            )
    if isinstance(plan.spending, SpendingForm):
        path = ("plan", "spending")
        if (plan.spending.hwang_shih_decani is None) == (plan.spending.kim_demets is None):
            yield (
                path,
                document.fault(
                    path,
                    "a spending function is one of its family",
                    accepted="{hwang_shih_decani: gamma} or {kim_demets: rho}",
                ),
            )


def _segments(form: Form, document: Document) -> Found:
    metrics = [*form.metrics]
    for index, segment in enumerate(form.critical_segments):
        here: FieldPath = ("critical_segments", index)
        attribute = segment.where.split("=", 1)[0]
        if attribute not in form.segments:
            path = (*here, "where")
            yield (
                path,
                document.fault(
                    path,
                    f"'{attribute}' is not among the segments",
                    accepted=", ".join(form.segments) or "an attribute listed under `segments:`",
                    next=nearest(attribute, form.segments),
                ),
            )
        yield from unknown_metric((*here, "metric"), segment.metric, metrics, document)
    for stage, reason in form.rollout.skip.items():
        if not reason.strip():
            path = ("rollout", "skip", stage)
            yield path, document.fault(path, "skipping a stage needs a reason", accepted="a sentence")


def _connection(connection: str | None, document: Document) -> Found:
    if connection is None:
        return
    path: FieldPath = ("source", "connection")
    accepted = "env:NAME, the environment variable with the address, or an address without a password: postgresql://host/database"
    if connection.startswith("env:"):
        if not connection.removeprefix("env:").isidentifier():
            problem = f"'{connection}' names no environment variable"
            yield path, document.fault(path, problem, accepted=accepted)
        return
    try:
        place = urlsplit(connection)
        secret = bool(place.password) or "password" in place.query.lower()
    except ValueError:
        place, secret = None, False
    if secret:
        # The address itself is not repeated: a fault is printed and kept.
        problem = "the address holds a password, and a definition is read by many"
        yield path, document.fault(path, problem, accepted=accepted, next="put the address in a variable")
    elif place is None or not place.scheme or "://" not in connection:
        yield path, document.fault(path, f"'{connection}' is no address", accepted=accepted)


def _source(form: Form, document: Document) -> Found:
    if form.source is None:
        return
    yield from _connection(form.source.connection, document)
    path: FieldPath = ("source", "columns")
    for name, metric in form.metrics.items():
        fixed = CATALOGUE.get(name)
        of = metric.of or (fixed.of if fixed else None)
        per = metric.per or (fixed.per if fixed else None)
        for quantity in (of, per):
            if quantity is not None and str(quantity) not in form.source.columns:
                yield (
                    path,
                    document.fault(
                        path,
                        f"'{name}' is made of {quantity}, and no column is named for it",
                        accepted=f"{quantity}: COLUMN",
                        next=nearest(str(quantity), form.source.columns),
                    ),
                )
    for segment in form.segments:
        if segment not in form.source.columns:
            yield (
                path,
                document.fault(
                    path, f"no column is named for the segment '{segment}'", accepted=f"{segment}: COLUMN"
                ),
            )
