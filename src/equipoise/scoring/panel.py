"""Several judges, or several askings of one, made into one score."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from equipoise.scoring.evaluating import Score

__all__ = ["cost_of", "members", "together"]


def members(models: Sequence[str]) -> tuple[str, ...]:
    """A name for each judge: its model, numbered from the second of the same model on.

    >>> members(["gpt", "claude", "gpt"])
    ('gpt', 'claude', 'gpt #2')
    """
    met: Counter[str] = Counter()
    names = []
    for model in models:
        met[model] += 1
        names.append(model if met[model] == 1 else f"{model} #{met[model]}")
    return tuple(names)


def cost_of(costs: Sequence[float | None]) -> float | None:
    """The sum of costs; None where one of them is not known."""
    return None if None in costs else math.fsum(cost for cost in costs if cost is not None)


def together(scores: Mapping[str, Score]) -> Score:
    """The mean of the judges' values, passed by the majority; usable where at least half of them are.

    `label` says what each judge gave, and how. A tie between passing and failing does not pass.

    >>> together({"a": Score(value=4.0), "b": Score(value=5.0), "c": Score(why_not="no JSON")}).value
    4.5
    """
    if len(scores) == 1:
        return next(iter(scores.values()))
    usable = {name: score for name, score in scores.items() if score.value is not None}
    cost = cost_of([score.cost_usd for score in scores.values()])
    if 2 * len(usable) < len(scores) or not usable:
        reasons = "; ".join(f"{name}: {score.why_not}" for name, score in scores.items() if score.why_not)
        failed = all(score.errored for score in scores.values() if score.value is None)
        return Score(why_not=f"most of the panel gave no score ({reasons})", errored=failed, cost_usd=cost)
    values = [score.value for score in usable.values() if score.value is not None]
    votes = [score.passed for score in usable.values() if score.passed is not None]
    return Score(
        value=math.fsum(values) / len(values),
        passed=2 * sum(votes) > len(votes) if votes else None,
        label=", ".join(
            f"{name} {score.value:g}{f' ({score.label})' if score.label else ''}"
            for name, score in usable.items()
        ),
        explanation=next((score.explanation for score in usable.values() if score.explanation), ""),
        cost_usd=cost,
    )
