"""When a bandit's shares are made anew, or why they are not, by where the experiment stands; and how shares are said."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from equipoise.experiment.definition import Experiment
from equipoise.rollout.stages import State

__all__ = ["next_weights", "shares_said"]

_SIMPLE = 12
"""A share whose denominator is at most that was written down by somebody, and is read as it was."""


def next_weights(experiment: Experiment, state: State) -> float | str:
    """When the next epoch is to begin (seconds since 1970 UTC), or why none does.

    An epoch lasts as long as the bandit says, counted from its start, whoever opened it. Shares follow rewards in the stage
    `ab` alone, while the experiment is open and has no verdict that ends it.

    >>> from equipoise.experiment.reading import read_canonical
    >>> plain = read_canonical({"name": "bot", "hypothesis": "It helps.", "unit": "user", "changes": ["model"],
    ...     "variants": {"control": {"model": "a"}, "b": {"model": "b"}},
    ...     "metrics": {"resolution_rate": {"priority": "primary"}}})
    >>> next_weights(plain, State(stage="ab"))
    'its shares stay as they are declared: it is no bandit'
    """
    bandit = experiment.bandit
    if bandit is None:
        return "its shares stay as they are declared: it is no bandit"
    if state.digest != experiment.digest:
        return "another revision is registered since"
    if state.stage != "ab":
        return f"it is in the stage {state.stage}, and shares follow rewards in ab"
    if state.service == "paused":
        return "it is paused, and nobody new comes in"
    if state.service != "open":
        return "it serves control to everyone"
    if state.finished:
        return "the verdict has ended it"
    if not state.allocations:
        return "it was registered before there were epochs"
    last = state.allocations[-1]
    if len(last.shares) < 2:
        return "one arm is left"
    return last.starts + bandit.every


def shares_said(shares: Mapping[str, str]) -> str:
    """Exact shares by arm as a reader wants them: the fractions that somebody declared, or percentages of what was computed.

    >>> shares_said({"control": "1/3", "b": "2/3"}), shares_said({"control": "253/5000", "b": "4747/5000"})
    ('control 1/3, b 2/3', 'control 5.06%, b 94.94%')
    """
    exact = {arm: Fraction(share) for arm, share in shares.items()}
    simple = all(share.denominator <= _SIMPLE for share in exact.values())
    return ", ".join(
        f"{arm} {share if simple else f'{float(100 * share):.4g}%'}" for arm, share in exact.items()
    )
