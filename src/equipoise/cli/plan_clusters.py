"""What `equipoise plan --like` says of past clusters."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from equipoise.cli.output import rows

if TYPE_CHECKING:
    from equipoise.stats.estimate import NotEstimable
    from equipoise.stats.sizes.intraclass import Intraclass

__all__ = ["clusters_json", "clusters_text"]


def clusters_json(past: Intraclass | NotEstimable) -> dict[str, Any]:
    """As plain JSON."""
    from equipoise.stats.estimate import NotEstimable

    return {"not_estimable": past.reason} if isinstance(past, NotEstimable) else asdict(past)


def clusters_text(past: Intraclass | NotEstimable) -> str:
    """How alike readings of a cluster were, and the line that a definition needs of it."""
    from equipoise.stats.estimate import NotEstimable

    if isinstance(past, NotEstimable):
        return f"Past clusters: {past.reason}."
    table = rows(
        ["past clusters", ""],
        [
            ["clusters", f"{past.clusters:,}"],
            ["readings a cluster", f"{past.size:,.1f} (coefficient of variation {past.size_cv:.2f})"],
            ["spread between readings", f"{past.spread:.4g}"],
            ["intraclass correlation", f"{past.icc:.3g} [{past.low:.3g}, {past.high:.3g}]"],
        ],
    )
    line = f"clusters: {{icc: {max(past.icc, 0.0):.3g}, size: {past.size:.3g}, size_cv: {past.size_cv:.2g}}}"
    return f"{table}\nTo plan by it: spread: {past.spread:.4g} at the primary, and plan: {{{line}}}."
