"""Whether control changes as treatment spreads: a caution, for what it means cannot be told from one ramp alone."""

from __future__ import annotations

from equipoise.analysis.findings import Check
from equipoise.experiment.definition import Experiment
from equipoise.measurement.tally import Measurement
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.health.interference import control_by_share

__all__ = ["interference"]


def interference(experiment: Experiment, measured: Measurement) -> list[Check]:
    """Control by the treatment's share over the ramps there were: it moves, no move is shown, or it cannot be told.

    Nothing where the share never changed while units came in that count.
    """
    days, name, metric = measured.control_days, "control as treatment spreads", experiment.primary.name
    if len({each.share for each in days}) < 2:
        return []
    found = control_by_share(days)
    if isinstance(found, NotEstimable):
        return [Check(name, "ok", f"cannot be told: {found.reason}")]
    low, high = min(each.share for each in days), max(each.share for each in days)
    reach = high - low
    p = 1.0 if found.p_value is None else found.p_value
    moved = (
        f"{metric} of control by {found.value * reach:+.3g} [{found.low * reach:.3g}, {found.high * reach:.3g}] as the "
        f"treatment's share of traffic went from {low:.3g} to {high:.3g} (trend and weekday apart, p = {p:.2g})"
    )
    if p < 1.0 - found.level:
        says = (
            f"it moved {moved}: units of control may feel the treatment, and the effect is then not that of going over for "
            "good; or something else changed with the ramp. Randomise clusters, or switch back and forth in time, to tell"
        )
        return [Check(name, "note", says, p)]
    return [Check(name, "ok", f"no move is shown: {moved}. What is not shown is not absent", p)]
