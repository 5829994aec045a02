"""Evaluators that somebody else wrote, found by their entry point in the group `equipoise.evaluators`.

An entry point names a *function of an answer*, `(subject, **options) -> Score | float | bool | None`, plain or
async; or a *factory*, `(argument, tools) -> Evaluator` (or such a function), which may be a class.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from numbers import Real
from pathlib import Path
from typing import Any, TypeGuard

from equipoise.errors import BudgetError, EquipoiseError, OutOfReachError, UsageError, nearest
from equipoise.experiment.evaluators import Declared, Kind
from equipoise.scoring.evaluating import Evaluator, Score, Subject, errored, fails, graded, passes, unscored
from equipoise.scoring.evaluators import Tools
from equipoise.scoring.judging import identity

__all__ = ["GROUP", "Plugin", "build"]

GROUP = "equipoise.evaluators"
"""The group of entry points in which plug-ins are found."""

_LONGEST = 200
"""How much of an exception's message is repeated: it may hold a whole prompt."""

Scoring = Callable[[Subject], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """An Evaluator around a plug-in, by the declared name: whatever it does, the run goes on.

    An exception inside is `errored`, except for the two that end a run. What measures several things has
    its measures named `NAME.MEASURE`.
    """

    declared: Declared
    digest: str
    measures: tuple[str, ...]
    scored_by: Evaluator | Scoring

    @property
    def name(self) -> str:
        return self.declared.name

    @property
    def kind(self) -> Kind:
        return "plugin"

    @property
    def revision(self) -> int:
        return self.declared.revision

    async def score(self, subject: Subject) -> Mapping[str, Score]:
        """A score for each measure; raises only what ends a run."""
        scores = await self._asked(subject)
        return {measure: graded(scores[measure], self.declared) for measure in self.measures}

    async def _asked(self, subject: Subject) -> Mapping[str, Score]:
        inner = self.scored_by
        try:
            if _is_evaluator(inner):
                given = await inner.score(subject)
                return {
                    measure: _read(given.get(theirs))
                    for measure, theirs in zip(self.measures, inner.measures, strict=True)
                }
            return {self.name: _read(await _called(inner, subject))}
        except (BudgetError, OutOfReachError):
            raise
        except Exception as error:  # noqa: BLE001 - it is somebody else's code
            said = " ".join(str(error).split())[:_LONGEST]
            why = f"the plug-in raised {type(error).__name__}" + (f": {said}" if said else "")
            return dict.fromkeys(self.measures, errored(why, cost_usd=None))


def build(declared: Declared, tools: Tools) -> Evaluator:
    """The plug-in that `{plugin: {use: NAME, …}}` declares, given what else stands there.

    Raises UsageError where none is installed by that name or it cannot be had.
    """
    argument = {str(key): value for key, value in declared.argument.items() if key != "use"}
    point = _point(str(declared.argument["use"]), declared.name)
    try:
        made: Any = point.load()
        code = _code_of(made)
        if _is_factory(made, point):
            made = made(argument, tools)
        elif argument:
            inspect.signature(made).bind(None, **argument)
            made = _with(made, argument)
    except EquipoiseError:
        raise
    except Exception as error:
        raise UsageError(
            f"the plug-in '{point.name}' ({point.value}) cannot be had for the evaluator '{declared.name}': "
            f"{type(error).__name__}: {error}; mend what is declared beside `use`, or the plug-in"
        ) from error
    if not (_is_evaluator(made) or callable(made)):
        raise UsageError(
            f"the plug-in '{point.name}' ({point.value}) made something that scores nothing. Accepted: an "
            f"evaluator, or a function of an answer, not {type(made).__name__}"
        )
    measures: tuple[str, ...] = (declared.name,)
    if _is_evaluator(made) and len(made.measures) != 1:
        measures = tuple(f"{declared.name}.{measure}" for measure in made.measures)
    distribution = point.dist
    configuration = {
        "plugin": point.value,
        "package": f"{distribution.name} {distribution.version}" if distribution else None,
        "code": code,
        "argument": argument,
        "evaluator": made.digest if _is_evaluator(made) else None,
        "revision": declared.revision,
        "threshold": declared.threshold,
        "negated": declared.negated,
    }
    try:
        digest = identity(configuration)
    except ValueError as error:
        raise UsageError(
            f"the evaluator '{declared.name}' declares something beside `use` that JSON cannot say exactly: {error}; "
            "write it as a text"
        ) from None
    return Plugin(declared=declared, digest=digest, measures=measures, scored_by=made)


def _point(use: str, name: str) -> EntryPoint:
    found = {point.value: point for point in entry_points(group=GROUP, name=use)}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise UsageError(
            f"the evaluator '{name}' uses the plug-in '{use}', and several are installed by that name: "
            f"{', '.join(sorted(found))}; uninstall all but one"
        )
    installed = sorted({point.name for point in entry_points(group=GROUP)})
    advice = nearest(use, installed)
    raise UsageError(
        f"the evaluator '{name}' uses the plug-in '{use}', and none is installed by that name. Installed: "
        f"{', '.join(installed) or 'none'}"
        + (f"; {advice}" if advice else "; install the package that brings it")
    )


def _is_evaluator(made: Any) -> TypeGuard[Evaluator]:
    return all(hasattr(made, each) for each in ("measures", "digest", "score")) and not inspect.isclass(made)


def _is_factory(made: Any, point: EntryPoint) -> bool:
    """A class is a factory, and so is what must be given two things; a function of an answer takes one."""
    if inspect.isclass(made):
        return True
    required = [
        parameter
        for parameter in inspect.signature(made).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.default is parameter.empty
    ]
    if len(required) not in (1, 2):
        raise UsageError(
            f"the plug-in '{point.name}' ({point.value}) must be given {len(required)} things. Accepted: one, the answer "
            "(a function), or two, what is declared beside `use` and the tools (a factory)"
        )
    return len(required) == 2


def _with(function: Callable[..., Any], options: Mapping[str, Any]) -> Scoring:
    if inspect.iscoroutinefunction(function):

        async def later(subject: Subject) -> Any:
            return await function(subject, **options)

        return later
    return lambda subject: function(subject, **options)


async def _called(scoring: Any, subject: Subject) -> Any:
    if inspect.iscoroutinefunction(scoring):
        return await scoring(subject)
    # What waits for a network in plain code must not hold up everything else.
    given = await asyncio.to_thread(scoring, subject)
    return await given if inspect.isawaitable(given) else given


def _read(given: Any) -> Score:
    """What a plug-in said, as a score; what it cost is not known unless it says so."""
    if isinstance(given, Score):
        return given
    if given is None:
        return unscored("the plug-in gave no score", cost_usd=None)
    if isinstance(given, bool):
        held = passes() if given else fails("the plug-in says that it does not hold")
        return Score(value=held.value, passed=held.passed, explanation=held.explanation, cost_usd=None)
    if isinstance(given, Real):
        value = float(given)
        if math.isfinite(value):
            return Score(value=value, cost_usd=None)
        return unscored(f"the plug-in gave {value}, which is no score", cost_usd=None)
    return errored(
        f"the plug-in gave {type(given).__name__}; accepted: a Score, a number, true or false, or None",
        cost_usd=None,
    )


def _code_of(made: Any) -> str | None:
    """SHA-256 of the file that a plug-in stands in, so that a change to it tells; None where it has none."""
    try:
        file = inspect.getsourcefile(made if inspect.isclass(made) else inspect.unwrap(made))
        return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else None
    except (TypeError, OSError):
        return None
