"""What a verdict rule must not do: ship blindly, go on for ever, or have lines that nothing reaches."""

from __future__ import annotations

from collections.abc import Iterator

from equipoise.errors import Fault, nearest
from equipoise.experiment.document import Document
from equipoise.experiment.document import Path as FieldPath
from equipoise.experiment.form import BranchForm, Form
from equipoise.experiment.verdict_rule import STATES, Branch, branch

__all__ = ["rule", "verdict_faults"]

Found = Iterator[tuple[FieldPath, Fault]]
Conditions = frozenset[tuple[str, str]]

_PATH: FieldPath = ("verdict",)
_FIRST = "{when: {health: invalid}, then: invalid}"


def rule(forms: list[BranchForm]) -> tuple[Branch, ...]:
    """The lines of the file as values."""
    return tuple(
        branch(form.when.conditions, form.then, arms=form.arms, because=form.because) for form in forms
    )


def verdict_faults(form: Form, document: Document) -> Found:
    """Everything wrong with `verdict:`, line by line and of the lines with each other."""
    if form.verdict is None:
        return
    guards = _guards(form)
    named = [*_names(form, guards, document)]
    yield from named
    yield from _arms(form.verdict, document)
    yield from _needs(form, document)
    if named:
        # A name that nobody has says nothing: what the lines do together is told once all names are right.
        return
    lines = rule(form.verdict)
    yield from _healthy(lines, document)
    yield from _shipping(lines, guards, document)
    yield from _peeking(lines, document)
    yield from _ending(lines, document)
    yield from _reached(lines, guards, len(form.variants) - 1, document)


def _guards(form: Form) -> tuple[str, ...]:
    """Guardrails and critical segments, as reports call them."""
    return (
        *(name for name, metric in form.metrics.items() if metric.priority == "guardrail"),
        *dict.fromkeys(f"{segment.metric} in {segment.where}" for segment in form.critical_segments),
    )


def _names(form: Form, guards: tuple[str, ...], document: Document) -> Found:
    for index, line in enumerate(form.verdict or ()):
        for subject in line.when.conditions:
            path: FieldPath = (*_PATH, index, "when", subject)
            if subject not in STATES and subject not in guards:
                known = (*STATES, *guards)
                part = form.metrics.get(subject)
                yield (
                    path,
                    document.fault(
                        path,
                        f"there is no guardrail '{subject}'"
                        if part is None
                        else f"'{subject}' is {part.priority}, and only the primary and guardrails decide",
                        accepted=", ".join(known),
                        next=nearest(subject, known) if part is None else "make it a guardrail with a margin",
                    ),
                )


def _arms(lines: list[BranchForm], document: Document) -> Found:
    for index, line in enumerate(lines):
        path: FieldPath = (*_PATH, index, "arms")
        if line.arms is None:
            continue
        if line.then == "ship":
            yield (
                path,
                document.fault(
                    path, "what ships is one treatment that meets all conditions", next="leave `arms` out"
                ),
            )
        elif not set(line.when.conditions) - {"health", "look"}:
            yield (
                path,
                document.fault(
                    path, "`arms` belongs to conditions on the primary or on guardrails", next="leave it out"
                ),
            )


def _needs(form: Form, document: Document) -> Found:
    """What a condition compares the primary with must have been written down."""
    primary = next(((n, m) for n, m in form.metrics.items() if m.priority == "primary"), None)
    if primary is None:
        return
    name, metric = primary
    for index, line in enumerate(form.verdict or ()):
        for state, key, given, means in (
            ("non_inferior", "margin", metric.margin, "how much worse is still acceptable"),
            ("futile", "mde", metric.mde, "the smallest effect worth finding"),
        ):
            if line.when.primary == state and given is None:
                path: FieldPath = (*_PATH, index, "when", "primary")
                yield (
                    path,
                    document.fault(
                        path,
                        f"the primary, {name}, has no `{key}` to be {state.replace('_', '-')} by",
                        accepted=f"`{key}` ({means}) written at the metric, such as {key}: 2pp",
                    ),
                )


def _healthy(lines: tuple[Branch, ...], document: Document) -> Found:
    """Of an experiment that is not healthy nothing is known but that, and the look."""
    for look in STATES["look"]:
        known = {("health", "invalid"), ("look", look)}
        first = next((i for i, line in enumerate(lines) if set(line.when) <= known), None)
        if first is None or lines[first].then == "invalid":
            continue
        path: FieldPath = (*_PATH, first)
        yield (
            path,
            document.fault(
                path,
                f"an experiment that is not healthy would be answered '{lines[first].then}' here",
                accepted="'invalid' for whatever is not healthy",
                next=f"write {_FIRST} first",
            ),
        )
        return


def _shipping(lines: tuple[Branch, ...], guards: tuple[str, ...], document: Document) -> Found:
    for index, line in enumerate(lines):
        if line.then != "ship":
            continue
        path: FieldPath = (*_PATH, index)
        if not {("primary", "better"), ("primary", "non_inferior")} & set(line.when):
            yield (
                path,
                document.fault(
                    path,
                    "a treatment would ship whatever the primary shows",
                    accepted="primary: better, or primary: non_inferior, among the conditions",
                ),
            )
        known = _follows(line.when, guards)
        loose = [name for name in guards if (name, "not_breached") not in known]
        odd = [name for name, state in line.when if state == "not_shown"]
        if loose:
            yield (
                path,
                document.fault(
                    path,
                    f"a treatment would ship although {' or '.join(loose)} is breached",
                    accepted="guardrails: held, or guardrails: not_breached, among the conditions",
                ),
            )
        elif odd:
            yield (
                path,
                document.fault(
                    path,
                    f"a treatment would ship where {odd[0]} is in doubt, and not where it is held",
                    accepted=f"{odd[0]}: held, or {odd[0]}: not_breached",
                ),
            )


def _peeking(lines: tuple[Branch, ...], document: Document) -> Found:
    """Between looks the primary is withheld: what ends there, ends for harm."""
    for index, line in enumerate(lines):
        at = dict(line.when).get("look", "peek")
        shown = {"health", "primary"} & {subject for subject, _ in line.when}
        harm = any(state == "breached" for _, state in line.when)
        if line.then not in ("ship", "keep running") and at == "peek" and not shown and not harm:
            path: FieldPath = (*_PATH, index)
            yield (
                path,
                document.fault(
                    path,
                    f"it would be answered '{line.then}' before any look is due, and for no harm",
                    accepted="at a peek a breached guardrail, or to keep running",
                    next="write {when: {look: peek}, then: keep running} before this line",
                ),
            )
        if set(line.when) <= {("look", "peek")}:
            return


def _ending(lines: tuple[Branch, ...], document: Document) -> Found:
    """At the last look no more data will come, and something else than 'keep running' must be said."""
    if lines[-1].when:
        path: FieldPath = (*_PATH, len(lines) - 1)
        yield (
            path,
            document.fault(
                path,
                "where no line applies, there would be no verdict",
                accepted="a last line without `when`",
                next="end with {then: keep running}",
            ),
        )
    for index, line in enumerate(lines):
        at = dict(line.when).get("look", "last")
        if line.then == "keep running" and at == "last" and ("health", "invalid") not in line.when:
            path = (*_PATH, index)
            yield (
                path,
                document.fault(
                    path,
                    "it would keep running at the last look, after which no more data come",
                    accepted="an end for every last look, such as {when: {look: last}, then: hold}, before this line",
                ),
            )
        if set(line.when) <= {("look", "last")}:
            return


def _reached(
    lines: tuple[Branch, ...], guards: tuple[str, ...], treatments: int, document: Document
) -> Found:
    for index, line in enumerate(lines):
        path: FieldPath = (*_PATH, index)
        if impossible := _contradiction(line, guards):
            yield path, document.fault(path, f"this line is never reached: {impossible}", next="leave it out")
            continue
        before = next((i for i in range(index) if _covers(lines[i], line, guards, treatments)), None)
        if before is not None:
            yield (
                path,
                document.fault(
                    path,
                    f"this line is never reached: verdict[{before}] applies wherever it does",
                    next="put the narrower line first, or leave this one out",
                ),
            )


def _follows(when: tuple[tuple[str, str], ...], guards: tuple[str, ...]) -> Conditions:
    """The conditions and everything that follows from them, of one treatment."""
    known = set(when)
    if ("primary", "better") in known:
        known.add(("primary", "non_inferior"))
    if ("primary", "worse") in known:
        known.add(("primary", "futile"))
    for state in ("held", "not_breached"):
        if ("guardrails", state) in known:
            known |= {(name, state) for name in guards}
    if len(guards) == 1 and ("guardrails", "breached") in known:
        known.add((guards[0], "breached"))
    for name in guards:
        if known & {(name, "held"), (name, "not_shown")}:
            known.add((name, "not_breached"))
        if (name, "breached") in known:
            known.add(("guardrails", "breached"))
    for state in ("held", "not_breached"):
        if guards and all((name, state) in known for name in guards):
            known |= {("guardrails", state), ("guardrails", "not_breached")}
    return frozenset(known)


def _contradiction(line: Branch, guards: tuple[str, ...]) -> str | None:
    known = _follows(line.when, guards)
    if ("health", "invalid") in known and line.of_arm:
        return "where the experiment is not healthy, nothing is shown of its treatments"
    if ("look", "peek") in known and any(subject == "primary" for subject, _ in known):
        return "where no look is due, the primary is withheld"
    if {("guardrails", "breached"), ("guardrails", "not_breached")} <= known:
        return "one guardrail must be breached, and none may be"
    for name in guards:
        if {(name, "breached"), (name, "not_breached")} <= known:
            return f"{name} cannot be breached and not"
        if {(name, "held"), (name, "not_shown")} <= known:
            return f"{name} cannot be held and not shown to be"
    return None


def _covers(earlier: Branch, later: Branch, guards: tuple[str, ...], treatments: int) -> bool:
    """Whether the earlier line applies wherever the later one does, so that the later one is never asked."""
    if not set(earlier.of_experiment) <= set(later.of_experiment):
        return False
    if not earlier.of_arm:
        return True
    if not later.of_arm or not set(earlier.of_arm) <= _follows(later.of_arm, guards):
        return False
    return earlier.arms == "any" or later.arms == "every" or treatments == 1
