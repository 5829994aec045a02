"""Verify: compute every recorded look and verdict again, and say of each whether it is the same."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from equipoise.conduct.ledger import registered
from equipoise.conduct.looking.pinning import FORMAT, Pin, computed, evidence, plan_digest, tools
from equipoise.conduct.looking.purges import Purges, purges_since
from equipoise.errors import DataError, EquipoiseError
from equipoise.events.facts import Decision, Look
from equipoise.events.log import EventLog
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.warehouse.connecting import Variable
from equipoise.rollout.stages import LEDGER, State, fold
from equipoise.verdict.analysis import Analysis

__all__ = ["Checked", "Difference", "Verification", "nearly_same", "verify"]

Answer = Literal["same", "differs", "purged", "not comparable"]
OnProgress = Callable[[int, int, str], None]

_CLOSE = 1e-9
_ABSENT = "absent"
_KEPT = ("position", "plan", "facts", "guard_boundary", "units", "primary", "read_out")
"""What is compared of a look's evidence, in this order."""
_FIXED = ("position", "plan")
"""What no purge changes."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A field of a look, what was recorded there and what is found now."""

    field: str
    recorded: Any
    found: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One recorded look with its verdict.

    `happened` is in seconds since 1970 UTC, `position` where in the log the look stands. `answer` is `same`,
    `differs` (field by field in `differences`, or `says` why nothing could be computed), `purged` (a unit that it
    read was purged since, and `differences` are those of a read-out without it), or `not comparable`.
    """

    number: int
    revision: str
    position: int
    happened: float
    verdict: str | None
    answer: Answer
    says: str
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Every look of an experiment, in the order in which they were taken, of all its revisions."""

    experiment: str
    looks: tuple[Checked, ...]

    @property
    def exit_code(self) -> int:
        """0 where every look is the same, 3 where one differs, else 4: some could not be compared, or were purged."""
        answers = {each.answer for each in self.looks}
        return 3 if "differs" in answers else 4 if answers - {"same"} else 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def verify(
    log: EventLog,
    name: str,
    *,
    folder: str = ".",
    on_progress: OnProgress | None = None,
    variable: Variable | None = None,
) -> Verification:
    """Compute every recorded look and verdict of an experiment again, from the log alone.

    A look is pinned to its revision, plan, earlier looks and last position; to what it read it has a hash.
    A number that differs by less than one part in 10⁹ where other versions of the tools compute it is the same.
    After a purge a look that read the unit cannot be computed again; that what is missing is what was purged, no less
    and no more, can still be told by the counts.
    Tables are looked for from `folder` on, or in a warehouse whose address `variable` tells; a warehouse adds in
    another order each time, so there too nine digits are the same. `on_progress` is called with (looks done,
    looks, what now). Raises RecordError where nothing of that name is registered.
    """
    experiment, _, _ = registered(log, name)
    ledger = list(log.read_since(0, experiment=name, kinds=LEDGER))
    decisions = {each.fact.look: each.fact for each in ledger if isinstance(each.fact, Decision)}
    total = sum(isinstance(each.fact, Look) for each in ledger)
    checked: list[Checked] = []
    state = State()
    for record in ledger:
        fact = record.fact
        if isinstance(fact, Look):
            if on_progress is not None:
                on_progress(len(checked), total, f"look {fact.number}")
            answer, says, differences = _checked(
                log, state, fact, decisions.get(fact.event_id), folder, variable
            )
            verdict = decisions[fact.event_id].verdict if fact.event_id in decisions else None
            checked.append(
                Checked(
                    number=fact.number,
                    revision=fact.digest,
                    position=record.position,
                    happened=fact.happened,
                    verdict=verdict,
                    answer=answer,
                    says=says,
                    differences=differences,
                )
            )
        state = fold([fact], state)
    if on_progress is not None:
        on_progress(total, total, "")
    return Verification(experiment=experiment.identity, looks=tuple(checked))


_Answered = tuple[Answer, str, tuple[Difference, ...]]


def _checked(
    log: EventLog, state: State, look: Look, decision: Decision | None, folder: str, variable: Variable | None
) -> _Answered:
    registration, kept = state.registration, look.evidence
    if registration is None or registration.digest != look.digest:
        return "differs", "the revision it looked at was not the registered one", ()
    written = kept.get("format", 1)
    if written > FORMAT:
        return (
            "not comparable",
            f"written by a later version (format {written}, this one reads {FORMAT}); upgrade equipoise",
            (),
        )
    earlier = f"a look of an earlier format ({written}, now {FORMAT})" if written < FORMAT else ""
    experiment = replace(read_canonical(registration.definition), folder=folder)
    if experiment.digest != look.digest:
        found = Difference("definition", look.digest, experiment.digest)
        return "differs", "the registered definition is not the one that was looked at", (found,)
    if experiment.source is None and "position" not in kept:
        return "not comparable", f"{earlier}, which did not keep up to where it read", ()
    pin = Pin(experiment, registration, state.looks, int(kept.get("position", 0)), look.final)
    purged = purges_since(log, experiment.name, pin.until) if experiment.source is None else None
    try:
        analysis = computed(log, pin, variable)
    except EquipoiseError as error:
        if purged and isinstance(error, DataError):
            return "purged", f"{purged}; without, nothing can be computed: {error}", ()
        # A log keeps what was read; a table may have gone, which says nothing about the look.
        return (
            ("differs" if experiment.source is None else "not comparable"),
            f"not computed again: {error}",
            (),
        )
    now = _found(analysis, pin, plan_digest(registration))
    differences = tuple(_differences(_recorded(look, decision), now, ""))
    if not differences:
        return "same", f"{earlier}; what it kept is the same" if earlier else "the same", ()
    warehouse = experiment.source is not None and experiment.source.connection is not None
    other = "a warehouse adds in any order" if warehouse else _other_tools(kept.get("tools", {}))
    if other and all(_close(each.recorded, each.found) for each in differences):
        return "same", f"the same to nine digits; {other}", ()
    count = f"{len(differences)} field{'s differ' if len(differences) > 1 else ' differs'}"
    amiss = ""
    if purged:
        explained = all(each.field not in _FIXED for each in differences)
        # What was recorded stands for itself still: the verdict is that of the read-out beside it.
        whole = decision is None or decision.verdict == kept.get("read_out", {}).get(
            "verdict", decision.verdict
        )
        if explained and whole and purged.account_for(kept.get("facts") or {}, now["facts"]):
            return "purged", _without(purged, decision, analysis), differences
        amiss = f"{purged}, which does not account for it"
    return "differs", "; ".join(part for part in (earlier, count, other, amiss) if part), differences


def _without(purged: Purges, decision: Decision | None, analysis: Analysis) -> str:
    word = analysis.verdict.word
    if decision is None or decision.verdict == word:
        return f"{purged}; without, the verdict is the same"
    return f"{purged}; without, the verdict would be {word}"


def _recorded(look: Look, decision: Decision | None) -> dict[str, Any]:
    return {
        "number": look.number,
        "fraction": look.fraction,
        "boundary": look.boundary,
        "statistic": look.statistic,
        "final": look.final,
        **{key: look.evidence[key] for key in _KEPT if key in look.evidence},
        "decision": None
        if decision is None
        else {"verdict": decision.verdict, "because": decision.because, "arm": decision.arm},
    }


def _found(analysis: Analysis, pin: Pin, plan: str) -> dict[str, Any]:
    state, primary = analysis.findings.look, analysis.findings.primary
    first = primary[0].estimate if primary else None
    verdict = analysis.verdict
    return {
        "number": state.number,
        "fraction": state.at,
        "boundary": state.boundary,
        "statistic": getattr(first, "statistic", None),
        "final": state.final,
        # As it would be kept: numbers and texts of JSON.
        **json.loads(json.dumps(evidence(analysis, pin))),
        "plan": plan,
        "decision": {"verdict": verdict.word, "because": verdict.because, "arm": verdict.arm},
    }


def _differences(recorded: Any, found: Any, field: str) -> Iterator[Difference]:
    """Where two JSON values differ. What the recorded one does not have, a later version has added."""
    if isinstance(recorded, Mapping) and isinstance(found, Mapping):
        for key, value in recorded.items():
            within = f"{field}.{key}" if field else key
            if key in found:
                yield from _differences(value, found[key], within)
            else:
                yield Difference(within, value, _ABSENT)
    elif isinstance(recorded, list) and isinstance(found, list):
        for place, (one, other) in enumerate(zip(recorded, found, strict=False)):
            yield from _differences(one, other, f"{field}[{place}]")
        if len(recorded) != len(found):
            yield Difference(f"{field} (how many)", len(recorded), len(found))
    elif recorded != found or isinstance(recorded, bool) != isinstance(found, bool):
        yield Difference(field, recorded, found)


def nearly_same(recorded: Any, found: Any) -> bool:
    """Whether two values in JSON differ by less than one part in 10⁹, wherever a number stands in them."""
    return all(_close(each.recorded, each.found) for each in _differences(recorded, found, ""))


def _close(recorded: Any, found: Any) -> bool:
    numbers = [isinstance(each, int | float) and not isinstance(each, bool) for each in (recorded, found)]
    return all(numbers) and math.isclose(recorded, found, rel_tol=_CLOSE, abs_tol=_CLOSE)


def _other_tools(made: Mapping[str, str]) -> str:
    now = tools()
    other = [
        f"{name} {made[name]} (now {now[name]})" for name in now if name in made and made[name] != now[name]
    ]
    return f"made with {', '.join(other)}" if other else ""
