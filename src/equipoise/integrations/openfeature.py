"""OpenFeature: experiments as feature flags, through the API an application may use already."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import (
    ErrorCode,
    FlagNotFoundError,
    InvalidContextError,
    OpenFeatureError,
    TargetingKeyMissingError,
    TypeMismatchError,
)
from openfeature.flag_evaluation import (
    FlagEvaluationDetails,
    FlagMetadata,
    FlagResolutionDetails,
    FlagType,
    FlagValueType,
    Reason,
)
from openfeature.hook import Hook, HookContext, HookHints
from openfeature.provider import AbstractProvider, Metadata
from openfeature.track import TrackingEventDetails

from equipoise.assignment.assigning import Reason as Why
from equipoise.errors import UsageError, nearest
from equipoise.experiment.variant import CHANGEABLE, thaw
from equipoise.sdk.assignment import Assignment
from equipoise.sdk.router import Router

__all__ = ["ExposureHook", "OpenFeatureProvider"]

T = TypeVar("T")
NAME = "Equipoise"
_REASONS: Mapping[Why, Reason] = MappingProxyType(
    {
        "split": Reason.SPLIT,
        "forced": Reason.TARGETING_MATCH,
        "shipped": Reason.STATIC,
        "redirected": Reason.DISABLED,
        "removed": Reason.DISABLED,
        "paused": Reason.DISABLED,
        "not_live": Reason.DISABLED,
        "stale": Reason.STALE,
        "unrecorded": Reason.STALE,
    }
)
"""What is not here kept a unit out of the experiment: DEFAULT."""
_ABSENT = object()
_logger = logging.getLogger("equipoise.openfeature")


class OpenFeatureProvider(AbstractProvider):
    """Serves the settings of experiments as flags; give it a router for each experiment.

    A flag is named by the experiment, with a path into the settings of its variants: `demo.model`,
    `demo.params.temperature`, `demo.config.greeting`. The name alone is the variant that is served, as a string, or
    all its settings, as an object. A unit that is not enrolled is served control's settings, and the variant of
    its details is None. Where the served variant leaves a setting alone, the value is the caller's default.

    The targeting key is the unit, the attributes of the context are its attributes; those with a text, a number
    or a truth value are passed on if the definition speaks of them. Types are exact: true is no integer, 1 is no
    boolean; a whole number is accepted as a float. Reasons are SPLIT (enrolled), TARGETING_MATCH (a tester's forced
    variant), STATIC (shipped), DISABLED (paused, redirected, not live, arm removed), STALE (the configuration or the
    record is away), DEFAULT (not targeted, held out, not covered and the like) and ERROR; the flag's metadata hold
    the experiment with its digest, our reason, the epoch, and the variant's probability where there is one.

    Evaluating a flag exposes nobody: add an `ExposureHook`. `track` keeps an outcome of the unit in every experiment
    it is enrolled in. Nothing here raises into the caller. The routers belong to whoever made them; `shutdown` only
    writes what they were given.

    Raises UsageError for two routers of one experiment.

    >>> from openfeature import api
    >>> from equipoise.experiment.reading import read_canonical
    >>> router = Router(read_canonical({
    ...     "name": "demo", "hypothesis": "A newer model resolves more.", "unit": "conversation",
    ...     "changes": ["model"], "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
    ...     "metrics": {"resolution_rate": {"priority": "primary"}},
    ... }))
    >>> api.set_provider_and_wait(OpenFeatureProvider(router), "doctest")
    >>> flags = api.get_client("doctest")
    >>> found = flags.get_string_details("demo.model", "c", EvaluationContext("conversation-1"))
    >>> found.value, found.variant, found.reason.value, found.flag_metadata["probability"]
    ('a', 'control', 'SPLIT', 0.5)
    """

    def __init__(self, *routers: Router) -> None:
        super().__init__()
        self._routers = {router.experiment.name: router for router in routers}
        if len(self._routers) < len(routers):
            raise UsageError("two routers serve one experiment; give the provider one of them")

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Nothing to wait for: routers serve from when they are made."""

    def shutdown(self) -> None:
        """Write what the routers were given; they stay open."""
        for router in self._routers.values():
            router.flush()

    def get_metadata(self) -> Metadata:
        return Metadata(name=NAME)

    def assignment(self, flag_key: str, context: EvaluationContext | None) -> Assignment:
        """The assignment behind a flag. Raises OpenFeatureError for what has none."""
        router, _ = self._flag(flag_key)
        return _assigned(router, context)

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        return self._resolved(FlagType.BOOLEAN, flag_key, default_value, evaluation_context)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        return self._resolved(FlagType.STRING, flag_key, default_value, evaluation_context)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        return self._resolved(FlagType.INTEGER, flag_key, default_value, evaluation_context)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        return self._resolved(FlagType.FLOAT, flag_key, default_value, evaluation_context)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        return self._resolved(FlagType.OBJECT, flag_key, default_value, evaluation_context)

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Keep an outcome: the event's name, and its value, or true without one."""
        value = tracking_event_details.value if tracking_event_details is not None else None
        for name, router in self._routers.items():
            try:
                assignment = _assigned(router, evaluation_context)
                assignment.track(tracking_event_name, True if value is None else value)
            except Exception as error:  # noqa: BLE001 - nothing is raised into the caller
                _logger.warning(
                    "'%s' was not kept as an outcome of %s: %s", tracking_event_name, name, _said(error)
                )

    def _resolved(
        self, kind: FlagType, flag_key: str, default: T, context: EvaluationContext | None
    ) -> FlagResolutionDetails[T]:
        """A flag's value with everything about it; every trouble is a sentence in it."""
        try:
            router, path = self._flag(flag_key)
            assignment = _assigned(router, context)
            draw = assignment._draw  # noqa: SLF001 - what is served, where nobody is enrolled too
            found: Any = thaw(assignment.config)
            if not path:
                found = draw.serves if kind is FlagType.STRING else found
            for step in path:
                found = found.get(step, _ABSENT) if isinstance(found, dict) else _ABSENT
            value = default if found is _ABSENT else _typed(kind, found, flag_key, bare=not path)
            return FlagResolutionDetails(
                value=value,
                variant=assignment.variant,
                reason=_REASONS.get(assignment.reason, Reason.DEFAULT),
                flag_metadata=_metadata(assignment),
            )
        except Exception as error:  # noqa: BLE001 - nothing is raised into the caller
            return FlagResolutionDetails(
                value=default,
                reason=Reason.ERROR,
                error_code=error.error_code if isinstance(error, OpenFeatureError) else ErrorCode.GENERAL,
                error_message=_said(error),
            )

    def _flag(self, flag_key: str) -> tuple[Router, tuple[str, ...]]:
        """The router of a flag and the path into its settings; names may hold dots, and the longest stands."""
        steps = flag_key.split(".")
        for end in range(len(steps), 0, -1):
            router = self._routers.get(".".join(steps[:end]))
            if router is None:
                continue
            path = tuple(steps[end:])
            if path and not any(_holds(variant.settings, path) for variant in router.experiment.variants):
                set_ = sorted({part for each in router.experiment.variants for part in each.settings})
                raise FlagNotFoundError(
                    f"no variant of {router.experiment.identity} sets '{'.'.join(path)}'; they set "
                    f"{', '.join(set_) or 'nothing'}, of {', '.join(CHANGEABLE)}"
                )
            return router, path
        hint = nearest(steps[0], self._routers)
        raise FlagNotFoundError(
            f"no experiment called '{flag_key}' is served here; there are: {', '.join(self._routers) or 'none'}"
            + (f"; {hint}" if hint else "")
        )


class ExposureHook(Hook):
    """Says after each evaluation of an enrolled unit that it was served: opt in to it where that is so.

    Add it to a client, to one evaluation or to the API; flags of other providers are none of its business. A first
    exposure is handed to the router's log and not waited for, and trouble with it is logged, not raised.

    >>> from openfeature import api
    >>> provider = OpenFeatureProvider()
    >>> flags = api.get_client("support")
    >>> flags.add_hooks([ExposureHook(provider)])
    """

    def __init__(self, provider: OpenFeatureProvider) -> None:
        self._provider = provider

    def after(
        self,
        hook_context: HookContext,
        details: FlagEvaluationDetails[FlagValueType],
        hints: HookHints,  # noqa: ARG002 - as it is called
    ) -> None:
        """Expose the unit to the variant it was served."""
        named = hook_context.provider_metadata
        if named is None or named.name != NAME:
            return
        try:
            assignment = self._provider.assignment(details.flag_key, hook_context.evaluation_context)
            # It may have been redirected since, and then it is not this that was served.
            if (assignment.variant, _metadata(assignment)) == (details.variant, details.flag_metadata):
                assignment.expose()
        except Exception as error:  # noqa: BLE001 - a hook that raises would take the value from the caller
            _logger.warning("serving '%s' was not recorded: %s", details.flag_key, _said(error))


def _assigned(router: Router, context: EvaluationContext | None) -> Assignment:
    unit = context.targeting_key if context is not None else None
    # A time slot is told by the clock, whoever asks.
    by_clock = router.experiment.unit.type == "slot"
    if not by_clock and (unit is None or unit == ""):
        raise TargetingKeyMissingError(
            f"the targeting key is the unit of {router.experiment.identity} "
            f"(a {router.experiment.unit.type}), and the context has none; give EvaluationContext(targeting_key=…)"
        )
    known = _asked_of(router)
    attributes = {
        name: value
        for name, value in (context.attributes.items() if context is not None else ())
        if name in known and isinstance(value, str | bool | int | float)
    }
    try:
        return router.assign_now(attributes) if by_clock or unit is None else router.assign(unit, attributes)
    except UsageError as error:
        raise InvalidContextError(str(error)) from None


def _asked_of(router: Router) -> frozenset[str]:
    """The attributes that a definition speaks of; a context may hold more, and it is nobody's here."""
    experiment = router.experiment
    named = {*experiment.attributes, *experiment.segments, *(each.attribute for each in experiment.target)}
    return frozenset(named | ({experiment.cluster} if experiment.cluster else set()))


def _metadata(assignment: Assignment) -> FlagMetadata:
    told: dict[str, bool | int | float | str] = {
        "experiment": assignment.experiment,
        "reason": assignment.reason,
    }
    if assignment.variant is not None:
        told["epoch"] = assignment.epoch
    if assignment.probability is not None:
        told["probability"] = assignment.probability
    return told


def _holds(settings: object, path: tuple[str, ...]) -> bool:
    for step in path:
        if not isinstance(settings, dict) or step not in settings:
            return False
        settings = settings[step]
    return True


def _typed(kind: FlagType, found: Any, flag_key: str, *, bare: bool) -> Any:
    """The value as the type that was asked for. Raises TypeMismatchError for any other."""
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    fits = {
        FlagType.BOOLEAN: isinstance(found, bool),
        FlagType.STRING: isinstance(found, str),
        FlagType.INTEGER: isinstance(found, int) and is_number,
        FlagType.FLOAT: is_number,
        FlagType.OBJECT: isinstance(found, dict | list),
    }
    if not fits[kind]:
        if bare:
            raise TypeMismatchError(
                f"'{flag_key}' is a variant's name (STRING) or all its settings (OBJECT), and {kind.value} was asked "
                f"for; name a setting, such as {flag_key}.config.KEY"
            )
        raise TypeMismatchError(f"'{flag_key}' is {found!r}, and {kind.value} was asked for")
    if kind is FlagType.FLOAT:
        try:
            number = float(found)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise TypeMismatchError(f"'{flag_key}' is too large for FLOAT; ask for INTEGER")
        return number
    return found


def _said(error: Exception) -> str:
    return str(getattr(error, "error_message", None) or error or repr(error))
