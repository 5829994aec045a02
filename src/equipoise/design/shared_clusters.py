"""What a plan says of units that are alike in clusters and each randomised by itself."""

from __future__ import annotations

from equipoise.design.clusters import FEW_CLUSTERS

__all__ = ["shared_clusters_note"]


def shared_clusters_note(cluster: str) -> str:
    """Why the sizes have no design effect, and what would ask for more units.

    Source: Abadie, Athey, Imbens & Wooldridge (2023), Quarterly Journal of Economics 138, 1: where assignment does not go
    by cluster and the effect is alike in all, errors that take no account of clusters are right.

    >>> shared_clusters_note("user")[:72]
    'units of one user are alike and each is randomised by itself, so that wh'
    """
    return (
        f"units of one {cluster} are alike and each is randomised by itself, so that what they have in common cancels "
        "between the arms: these sizes need no design effect (Abadie, Athey, Imbens & Wooldridge 2023). More units are "
        f"needed where the effect differs from one {cluster} to another, and with fewer than {FEW_CLUSTERS} clusters in an "
        "arm"
    )
