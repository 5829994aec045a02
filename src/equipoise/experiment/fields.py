"""How single values of the file are read: shares, durations, names, conditions; and what every section of it is."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from equipoise.experiment.amount import Amount, Bound, parse_amount, parse_bound, parse_duration, parse_share
from equipoise.experiment.audience import TESTS, Condition, Source, parse_conditions, parse_source
from equipoise.experiment.metric import Quantity
from equipoise.experiment.verdict_rule import GUARD_STATES, STATES

__all__ = [
    "AmountField",
    "BoundField",
    "ConditionsField",
    "Digest",
    "DurationField",
    "GuardStateField",
    "Name",
    "Plain",
    "Positive",
    "QuantityField",
    "Rate",
    "Section",
    "ShareField",
    "SourceField",
    "Words",
]


def _reads(
    parse: Callable[[object], Any],
    expected: str,
    hint: Callable[[object], str | None] | None = None,
    **schema: Any,
) -> tuple[BeforeValidator, WithJsonSchema]:
    """A validator that reads by `parse`, says what it would have accepted and what to do next, and its JSON Schema."""

    def read(value: object) -> Any:
        try:
            return parse(value)
        except (ValueError, TypeError, OverflowError):
            told = {"value": repr(value), "accepted": expected, "next": hint and hint(value)}
            raise PydanticCustomError("amount", "{value} cannot be read here", told) from None

    return BeforeValidator(read), WithJsonSchema({"description": expected, **schema})


def _quantity(value: object) -> Quantity:
    if not isinstance(value, str):
        raise TypeError
    return Quantity.parse(value)


def _place(value: object) -> Source:
    if not isinstance(value, str):
        raise TypeError
    return parse_source(value)


def _tests(value: object) -> tuple[Condition, ...]:
    if not isinstance(value, dict):
        raise TypeError
    return parse_conditions(value)


def _guard_state(value: object) -> str:
    if not isinstance(value, str) or value not in GUARD_STATES:
        raise ValueError
    return value


def _of_what(value: object) -> str | None:
    """What is said of a limit such as 2 %, which many mean as that share itself."""
    try:
        relative = parse_amount(value).scale == "relative"
    except (ValueError, TypeError, OverflowError):
        return None
    share = str(value).replace("%", "").strip()
    return (
        f"'%' is relative, and it is not said to what: for that share itself write {share}pp"
        if relative
        else None
    )


_amount, _amount_schema = _reads(
    parse_amount, "a number, '10%' (relative) or '1pp' (percentage points)", type=["number", "string"]
)
_share, _share_schema = _reads(
    parse_share, "a share from 0 to 1: '1/2', 0.05 or '5%'", type=["number", "string"]
)
_duration, _duration_schema = _reads(
    parse_duration, "a duration such as '30s', '5m', '2h', '1d' or '1w'", type="string"
)
_bound, _bound_schema = _reads(
    parse_bound,
    "a number, '2pp', 'control+20%', 'control+1pp' or 'baseline+5%'",
    _of_what,
    type=["number", "string"],
)
_of, _of_schema = _reads(
    _quantity,
    "outcome.NAME, turn.NAME, score.NAME or conversation.returned",
    type="string",
    pattern=r"^(outcome|turn|score|conversation)\.[A-Za-z0-9_]+$",
)

_source, _source_schema = _reads(
    _place, "header:NAME, cookie:NAME or body:PATH", type="string", pattern="^(header|cookie|body):.+$"
)
_conditions, _conditions_schema = _reads(
    _tests,
    "conditions by attribute: a value, a list of values, or tests such as {at_least: 18}; tests are "
    + ", ".join(TESTS),
    type="object",
)

_held, _held_schema = _reads(
    _guard_state,
    f"of one guardrail {', '.join(GUARD_STATES)}; other conditions are about {', '.join(STATES)}",
    enum=list(GUARD_STATES),
)

AmountField = Annotated[Amount, _amount, _amount_schema]
ShareField = Annotated[Fraction, _share, _share_schema]
DurationField = Annotated[float, _duration, _duration_schema]
BoundField = Annotated[Bound, _bound, _bound_schema]
SourceField = Annotated[Source, _source, _source_schema]
ConditionsField = Annotated[tuple[Condition, ...], _conditions, _conditions_schema]
GuardStateField = Annotated[str, _held, _held_schema]
QuantityField = Annotated[Quantity, _of, _of_schema]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12,64}$")]
Plain = dict[str, Any]


class Section(BaseModel):
    """A part of the file: unknown keys are refused, numbers are not made of words."""

    model_config = ConfigDict(
        extra="forbid", strict=True, arbitrary_types_allowed=True, allow_inf_nan=False, frozen=True
    )
