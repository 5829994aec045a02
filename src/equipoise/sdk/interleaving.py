"""One list of several rankers' items, shown to a unit, and the clicks on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from equipoise.assignment.assigning import Draw, Reason
from equipoise.assignment.hashing import MAX_UNIT, salt
from equipoise.assignment.interleaving import HashedDraws, Interleaved, alone, interleave
from equipoise.errors import UsageError
from equipoise.experiment.definition import Experiment

__all__ = ["ShownList", "default_list", "drawn_list", "named_query"]

Click = Callable[[str, str, str, str, float | bool, bool], None]
"""Records, for a unit and a query, an item, an outcome's name, its value, and whether to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownList:
    """The list to show to a unit, and whose each item is.

    `teams` has for each item the ranker that gave it, None where it counts for nobody. A list that is not `counted` is
    the default ranker's own, and `reason` says why: nothing of it is recorded. `query` names the list; a click that
    comes in another process is told by it (`Router.click`).
    """

    unit: str
    query: str
    items: tuple[str, ...]
    teams: tuple[str | None, ...]
    reason: Reason
    counted: bool
    _click: Click = field(repr=False, compare=False)

    def click(
        self, item: str | int, outcome: str = "click", value: float | bool = True, *, wait: bool = False
    ) -> None:
        """Say what became of an item, by its name or its place from 1: `click(2)`, `click("sony", "bought", 49.0)`.

        An item that is clicked again is still one item clicked. With `wait`, returns only once it is durable. Raises
        UsageError for an item that is not in the list, and for a value that is no finite number, true or false.
        """
        if isinstance(item, bool) or not isinstance(item, int | str):
            raise UsageError(f"an item is named by its text or by its place from 1, and this is {item!r}")
        if isinstance(item, int) and not 1 <= item <= len(self.items):
            raise UsageError(f"the list has the places 1 to {len(self.items)}, and {item} is none of them")
        name = self.items[item - 1] if isinstance(item, int) else item
        if name not in self.items:
            raise UsageError(f"{name!r:.80} is not in the list that was shown for {self.query!r:.80}")
        if self.counted:
            self._click(self.unit, self.query, name, outcome, value, wait)


def drawn_list(
    experiment: Experiment, draw: Draw, unit: str, query: str, rankings: Mapping[str, Sequence[str]]
) -> Interleaved:
    """The list of a unit's query: interleaved where serving it counts, else what the unit is served by default.

    UsageError where there is not exactly one ranking for each variant.
    """
    names = [variant.name for variant in experiment.variants]
    if set(rankings) != set(names):
        raise UsageError(
            f"{experiment.identity} has the rankers {', '.join(names)}, and rankings were given for "
            f"{', '.join(map(str, rankings)) or 'none'}; give each its own, an empty one where a ranker found nothing"
        )
    assert experiment.interleaving is not None
    if draw.counts:
        drawn = HashedDraws(salt(experiment.name, experiment.assignment_version), unit, query)
        return interleave(rankings, drawn, experiment.interleaving)
    return default_list(experiment, draw.serves, rankings)


def default_list(experiment: Experiment, serves: str, rankings: Mapping[str, Sequence[str]]) -> Interleaved:
    """One ranker's own list, as long as the experiment's."""
    assert experiment.interleaving is not None
    return alone(serves, rankings[serves], experiment.interleaving.length)


def named_query(query: object) -> str:
    """The name of a list; UsageError for what cannot name one."""
    if not isinstance(query, str) or not query or query.isspace() or len(query) > MAX_UNIT:
        raise UsageError(
            f"a query is named by text of 1 to {MAX_UNIT:,} characters, and this is {query!r:.80}; "
            "leave it out, and one is made"
        )
    try:
        query.encode()
    except UnicodeEncodeError:
        raise UsageError("a query's name must be valid Unicode, and this one has a lone surrogate") from None
    return query
