"""What people's labels show, as values: rates and strengths, grades, agreement, and what each rater did."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["Agreement", "Done", "Found", "Graded", "LabelReadout", "Preferred", "RaterAt", "Strength"]

Found = Estimate | NotEstimable


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferred:
    """A treatment against control, as people see it. `items` were labelled `labels` times; `passed` labels say nothing.

    `wins`, `ties` and `losses` count labels. `win_rate` is a share of items, each the mean of its raters; `lean` by how
    much people prefer what they see first, in points of share from −0.5 to 0.5.
    """

    variant: str
    items: int
    labels: int
    passed: int
    wins: int
    ties: int
    losses: int
    win_rate: Found


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """How strong a variant is by Bradley and Terry: `log_odds` about their mean, and the same as an Elo `rating`."""

    variant: str
    log_odds: Estimate
    rating: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """One question about one variant: the mean over items on the question's own scale, and less control's.

    Thumbs are a share. `difference` is None for control.
    """

    name: str
    variant: str
    items: int
    labels: int
    passed: int
    mean: Found
    difference: Found | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far raters agree on one question, on the `items` that two or more answered.

    `alpha` is Krippendorff's (nominal for thumbs, ordinal for a preference, interval for grades); `kappa` Cohen's for every
    two of at most eight raters, with quadratic weights for grades.
    """

    name: str
    raters: int
    items: int
    alpha: Found
    kappa: Mapping[tuple[str, str], Found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How far one question is: the `items` that somebody answered, and how many there are (None: not known)."""

    name: str
    items: int
    of: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterAt:
    """What one rater did: items answered and passed, and the seconds each took (None: not known)."""

    rater: str
    answered: int
    passed: int
    median_s: float | None
    total_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReadout:
    """All of it. `items` were drawn at random and answered; `disputed` were drawn because judge and outcome disagree, and
    count for time and agreement only. `quartiles_s` are of the seconds an item took.
    """

    experiment: str
    items: int
    disputed: int
    overlapping: int
    done: tuple[Done, ...]
    preferences: tuple[Preferred, ...]
    lean: Found | None
    strengths: tuple[Strength, ...] | NotEstimable | None
    grades: tuple[Graded, ...]
    agreement: tuple[Agreement, ...]
    raters: tuple[RaterAt, ...]
    quartiles_s: tuple[float, float, float] | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; what is not estimable says why."""
        return {
            "experiment": self.experiment,
            "items": self.items,
            "disputed": self.disputed,
            "overlapping": self.overlapping,
            "done": [_plain(each) for each in self.done],
            "preferences": [_plain(each) for each in self.preferences],
            "lean": _said(self.lean),
            "strengths": _said(self.strengths)
            if not isinstance(self.strengths, tuple)
            else [_plain(each) for each in self.strengths],
            "grades": [_plain(each) for each in self.grades],
            "agreement": [
                {
                    "name": each.name,
                    "raters": each.raters,
                    "items": each.items,
                    "alpha": _said(each.alpha),
                    "kappa": [
                        {"raters": list(pair), "kappa": _said(found)} for pair, found in each.kappa.items()
                    ],
                }
                for each in self.agreement
            ],
            "raters": [_plain(each) for each in self.raters],
            "quartiles_s": None if self.quartiles_s is None else list(self.quartiles_s),
        }


def _plain(value: Any) -> dict[str, Any]:
    return {name: _said(getattr(value, name)) for name in value.__dataclass_fields__}


def _said(value: Any) -> Any:
    if isinstance(value, NotEstimable):
        return {"not_estimable": value.reason}
    if isinstance(value, Estimate):
        return {
            name: each
            for name, each in asdict(value).items()
            if each is not None and not (isinstance(each, float) and math.isinf(each))
        }
    return value
