"""The verdict rule as a value: an ordered table of named conditions, each line leading to one of five words.

It is no programming language: a line names states (`guardrails: held`), all of which must be met, and the first line that
applies decides. Who evaluates it is `verdict.deciding`; what is refused before launch is in `verdict_checks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

__all__ = [
    "GUARD_STATES",
    "STATES",
    "USUAL",
    "Arms",
    "Branch",
    "GuardsState",
    "HealthState",
    "LookState",
    "PrimaryState",
    "Word",
    "asks",
    "branch",
]

Word = Literal["ship", "hold", "roll back", "keep running", "invalid"]
Arms = Literal["every", "any"]
HealthState = Literal["invalid"]
LookState = Literal["peek", "interim", "last"]
PrimaryState = Literal["better", "worse", "non_inferior", "futile", "not_estimable"]
GuardsState = Literal["held", "breached", "not_breached"]
GuardState = Literal["held", "breached", "not_breached", "not_shown"]

STATES: dict[str, tuple[str, ...]] = {
    "health": get_args(HealthState),
    "look": get_args(LookState),
    "primary": get_args(PrimaryState),
    "guardrails": get_args(GuardsState),
}
"""What a condition may be about, and the states it may ask for. Any other subject is one guardrail by its name."""
GUARD_STATES: tuple[GuardState, ...] = get_args(GuardState)
"""The states that may be asked of one guardrail, or of one critical segment (`resolved in tier=gold`)."""

_OF_THE_EXPERIMENT = ("health", "look")
_SAID = {
    ("health", "invalid"): "the experiment is not healthy",
    ("look", "peek"): "no registered look is due",
    ("look", "interim"): "a look before the last is due",
    ("look", "last"): "the last look is due",
    ("primary", "better"): "the primary is better, beyond its boundary",
    ("primary", "worse"): "the primary is worse, beyond its boundary",
    ("primary", "non_inferior"): "the primary is not worse by more than its margin",
    ("primary", "futile"): "an improvement of the primary by its mde is ruled out",
    ("primary", "not_estimable"): "the primary cannot be estimated",
    ("guardrails", "held"): "every guardrail is held",
    ("guardrails", "breached"): "a guardrail is breached",
    ("guardrails", "not_breached"): "no guardrail is breached",
}
_OF_GUARD = {
    "held": "is held",
    "breached": "is breached",
    "not_breached": "is not breached",
    "not_shown": "is neither held nor breached",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One line of the rule: where all of `when` is met, the verdict is `then`.

    `when` holds (subject, state) in a fixed order; without any the line always applies. Conditions on the primary and
    on guardrails are met by a treatment, all of them by the same one: `arms` says whether any treatment suffices or
    every one must meet them. `ship` is always about any, and names it. `because` goes before the reason that the
    findings give.

    >>> USUAL[4].says
    'the primary is better, beyond its boundary, and every guardrail is held, in a treatment'
    """

    when: tuple[tuple[str, str], ...] = ()
    arms: Arms = "every"
    then: Word
    because: str | None = None

    @property
    def of_experiment(self) -> tuple[tuple[str, str], ...]:
        """The conditions that health and look meet, or do not, for all treatments alike."""
        return tuple(each for each in self.when if each[0] in _OF_THE_EXPERIMENT)

    @property
    def of_arm(self) -> tuple[tuple[str, str], ...]:
        """The conditions that a treatment meets or does not."""
        return tuple(each for each in self.when if each[0] not in _OF_THE_EXPERIMENT)

    @property
    def says(self) -> str:
        """The conditions in words."""
        if not self.when:
            return "otherwise"
        said = [*(_SAID.get(each) or f"{each[0]} {_OF_GUARD[each[1]]}" for each in self.when)]
        if self.of_arm:
            said[-1] += ", in a treatment" if self.arms == "any" else ", in every treatment"
        return ", and ".join(said)

    def to_dict(self) -> dict[str, Any]:
        """The line as it is written in a definition, without what is usual."""
        form: dict[str, Any] = {"when": dict(self.when)} if self.when else {}
        if self.then != "ship" and self.arms != "every":
            form["arms"] = self.arms
        form["then"] = self.then
        return form if self.because is None else form | {"because": self.because}


def branch(
    when: Mapping[str, str], then: Word, *, arms: Arms | None = None, because: str | None = None
) -> Branch:
    """A line of the rule, its conditions put in order.

    >>> branch({"guardrails": "held", "primary": "better"}, "ship").to_dict()
    {'when': {'primary': 'better', 'guardrails': 'held'}, 'then': 'ship'}
    """
    order = list(STATES)
    conditions = sorted(
        when.items(), key=lambda each: (order.index(each[0]) if each[0] in STATES else len(order), each)
    )
    usual: Arms = "any" if then == "ship" else "every"
    return Branch(when=tuple(conditions), arms=arms or usual, then=then, because=because)


USUAL: tuple[Branch, ...] = (
    branch({"health": "invalid"}, "invalid"),
    branch({"guardrails": "breached"}, "roll back"),
    branch({"look": "peek"}, "keep running"),
    branch({"primary": "not_estimable"}, "invalid", arms="any"),
    branch({"primary": "better", "guardrails": "held"}, "ship"),
    branch({"primary": "worse"}, "hold"),
    branch({"look": "last"}, "hold"),
    branch({}, "keep running"),
)
"""The rule of a definition that writes none down."""


def asks(rule: tuple[Branch, ...], state: str, *, then: Word | None = None) -> bool:
    """Whether the rule asks somewhere for this state of the primary; with `then`, in a line that leads there.

    >>> asks(USUAL, "better", then="ship"), asks(USUAL, "non_inferior")
    (True, False)
    """
    return any(("primary", state) in each.when and then in (None, each.then) for each in rule)
