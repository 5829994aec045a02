"""Members of clusters: who was seen under several of them, counted where the rows are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equipoise.measurement.tally import Members
from equipoise.measurement.warehouse.asking import one_row

if TYPE_CHECKING:
    from ibis.expr.types import Table

__all__ = ["counted_members", "members_of"]


def members_of(facts: Table) -> Members | None:
    """As `members_of_table`, of `facts`; None where they have no column of members."""
    if "member" not in facts.columns:
        return None
    told = one_row(counted_members(facts))
    return Members(told["members"], told["in_several"], told["in_several_arms"])


def counted_members(facts: Table) -> Table:
    """How many members there are, and how many of them were seen in several clusters, and in several arms."""
    seen = (
        facts.filter(facts.member.notnull() & facts.unit.notnull())
        .group_by("member")
        .aggregate(clusters=lambda t: t.unit.nunique(), arms=lambda t: t.variant.nunique())
    )
    return seen.aggregate(
        members=seen.count(),
        in_several=seen.count(where=seen.clusters > 1),
        in_several_arms=seen.count(where=seen.arms > 1),
    )
