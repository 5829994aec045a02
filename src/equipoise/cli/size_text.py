"""What `equipoise size` says to a person, where no JSON is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from equipoise.design.size import Size

__all__ = ["say"]


def say(size: Size, extra: dict[str, Any]) -> None:
    """Print the size, and below it what its conditions and the further questions add."""
    arms = (
        f"{size.control:,} units per variant"
        if size.control == size.treatment
        else f"{size.control:,} units in control and {size.treatment:,} in "
        + ("treatment" if size.conditions.treatments == 1 else "each treatment")
    )
    tails = "two-sided" if size.sides == 2 else "one-sided"
    print(f"{arms}, {size.total:,} in all (alpha {size.alpha:g}, {tails}; power {size.power:g})")
    if size.solved == "effect":
        name, value = ("mde", size.mde) if size.mde is not None else ("margin", size.margin)
        print(f"{'smallest detectable effect' if name == 'mde' else 'smallest margin excluded'}: {value:.4g}")
    if size.clusters is not None:
        held = ", ".join(f"{name} {n:,}" for name, n in size.clusters.items())
        print(f"clusters: {held}")
    if size.alpha_each is not None:
        print(f"each comparison at alpha {size.alpha_each:.4g} ({size.conditions.correction})")
    if size.inflation is not None:
        print(f"{size.conditions.looks} looks raise the units by a factor of {size.inflation:.4f}")
    if extra.get("labels_per_variant") is not None:
        print(f"corrected by human labels: {extra['labels_per_variant']:,} labels per variant")
    if "days" in extra:
        print(f"{extra['days']:g} days, in whole cycles")
    for point in extra.get("power_curve", ()):
        print(f"effect {point['effect']:.4g}: power {point['power']:.3f}")
