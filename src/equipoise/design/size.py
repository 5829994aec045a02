"""A sample size with everything it was computed from: what `equipoise size` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from equipoise.stats.power import (
    Better,
    SampleSize,
    size_noninferior_means,
    size_noninferior_proportions,
    size_two_means,
    size_two_proportions,
)

__all__ = [
    "Size",
    "size_mean",
    "size_noninferior_mean",
    "size_noninferior_proportion",
    "size_proportion",
]

Kind = Literal["proportion", "mean", "noninferior_proportion", "noninferior_mean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Units per arm, and the inputs they follow from; inputs that a kind does not use are None.

    `baseline` and, for proportions, `mde` and `margin` are rates; for means `spread`, `mde` and `margin`
    are in the outcome's unit. `alpha` belongs to the whole test: two-sided for an effect, one-sided for
    non-inferiority.
    """

    kind: Kind
    control: int
    treatment: int
    alpha: float
    power: float
    ratio: float
    sides: int
    baseline: float | None = None
    spread: float | None = None
    mde: float | None = None
    margin: float | None = None
    better: Better | None = None

    @property
    def total(self) -> int:
        """Units of both arms together."""
        return self.control + self.treatment

    @property
    def per_variant(self) -> int | None:
        """Units of each arm where both need the same number, otherwise None."""
        return self.control if self.control == self.treatment else None

    def to_dict(self) -> dict[str, Any]:
        """The JSON shape; inputs that the kind does not use are absent.

        >>> size_proportion(0.6, 0.05).to_dict()["by_variant"]
        {'control': 1471, 'treatment': 1471}
        """
        shape: dict[str, Any] = {
            "kind": self.kind,
            "per_variant": self.per_variant,
            "by_variant": {"control": self.control, "treatment": self.treatment},
            "total": self.total,
            "alpha": self.alpha,
            "power": self.power,
            "ratio": self.ratio,
            "sides": self.sides,
        }
        for name in ("baseline", "spread", "mde", "margin", "better"):
            value = getattr(self, name)
            if value is not None:
                shape[name] = value
        return shape


def size_proportion(
    baseline: float,
    mde: float,
    alpha: float = 0.05,
    power: float = 0.8,
    ratio: float = 1.0,
    *,
    sides: int = 2,
) -> Size:
    """The size that finds a difference `mde` from a rate of `baseline`.

    Formula, domain and errors: `stats.power.size_two_proportions`.

    >>> size_proportion(0.6, 0.05).total
    2942
    """
    n = size_two_proportions(baseline, mde, alpha=alpha, power=power, ratio=ratio, sides=sides)
    return _size("proportion", n, alpha, power, ratio, sides, baseline=baseline, mde=mde)


def size_mean(
    spread: float,
    mde: float,
    alpha: float = 0.05,
    power: float = 0.8,
    ratio: float = 1.0,
    *,
    sides: int = 2,
) -> Size:
    """The size that finds a difference `mde` of means that spread by `spread`.

    Formula, domain and errors: `stats.power.size_two_means`.

    >>> size_mean(1.0, 0.5).per_variant
    64
    """
    n = size_two_means(spread, mde, alpha=alpha, power=power, ratio=ratio, sides=sides)
    return _size("mean", n, alpha, power, ratio, sides, spread=spread, mde=mde)


def size_noninferior_proportion(
    baseline: float,
    margin: float,
    alpha: float = 0.025,
    power: float = 0.8,
    ratio: float = 1.0,
    *,
    better: Better = "higher",
) -> Size:
    """The size that shows a rate to be no worse than by `margin`.

    Formula, domain and errors: `stats.power.size_noninferior_proportions`.

    >>> size_noninferior_proportion(0.9, 0.05, power=0.9).per_variant
    775
    """
    n = size_noninferior_proportions(baseline, margin, alpha=alpha, power=power, ratio=ratio, better=better)
    return _size(
        "noninferior_proportion", n, alpha, power, ratio, 1, baseline=baseline, margin=margin, better=better
    )


def size_noninferior_mean(
    spread: float, margin: float, alpha: float = 0.025, power: float = 0.8, ratio: float = 1.0
) -> Size:
    """The size that shows a mean to be no worse than by `margin`.

    Formula, domain and errors: `stats.power.size_noninferior_means`.

    >>> size_noninferior_mean(1.0, 0.5).per_variant
    64
    """
    n = size_noninferior_means(spread, margin, alpha=alpha, power=power, ratio=ratio)
    return _size("noninferior_mean", n, alpha, power, ratio, 1, spread=spread, margin=margin)


def _size(
    kind: Kind, n: SampleSize, alpha: float, power: float, ratio: float, sides: int, **inputs: Any
) -> Size:
    return Size(
        kind=kind,
        control=n.control,
        treatment=n.treatment,
        alpha=alpha,
        power=power,
        ratio=ratio,
        sides=sides,
        **inputs,
    )
