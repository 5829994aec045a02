"""Whether control changes as treatment spreads, over a ramp, or with how many are treated beside it: cautions.

What a ramp shows may have other causes; which units of a cluster are treated was drawn, and has none.
"""

from __future__ import annotations

from equipoise.analysis.findings import Check
from equipoise.experiment.definition import Experiment
from equipoise.measurement.tally import Measurement
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.health.interference import control_by_share
from equipoise.stats.health.saturation import control_by_saturation

__all__ = ["beside_control", "interference"]


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


def beside_control(experiment: Experiment, measured: Measurement) -> list[Check]:
    """Control by the share of treatment among the others of its cluster: it differs, nothing is shown, or it cannot be told.

    Nothing where units are not drawn within clusters.
    """
    cells, metric, whose = measured.saturations, experiment.primary.name, experiment.cluster
    if cells is None:
        return []
    name = f"control by {whose}"
    found = cells if isinstance(cells, NotEstimable) else control_by_saturation(cells)
    if isinstance(cells, NotEstimable) or isinstance(found, NotEstimable):
        assert isinstance(found, NotEstimable)
        return [Check(name, "ok", f"cannot be told: {found.reason}")]
    shares = [each.share for each in cells if each.totals.n]
    clusters = sum(each.totals.n for each in cells)
    p = 1.0 if found.p_value is None else found.p_value
    slope = (
        f"{metric} of control by {found.value:+.3g} [{found.low:.3g}, {found.high:.3g}] from none of the others of its "
        f"{whose} treated to all of them ({clusters:,} clusters, shares from {min(shares):.3g} to {max(shares):.3g}, "
        f"p = {p:.2g})"
    )
    if p < 1.0 - found.level:
        says = (
            f"it moves {slope}. Who is treated beside a unit was drawn: units of control feel it, unless treatment changes "
            f"how many units a {whose} has, and the effect is not that of going over for good. Randomise whole clusters "
            f"(`unit: {{type: cluster}}`), by {whose} or by what holds more together"
        )
        return [Check(name, "note", says, p)]
    return [Check(name, "ok", f"no move is shown: {slope}. What is not shown is not absent", p)]
