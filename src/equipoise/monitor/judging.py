"""The chore of the online judges: turns that were drawn are judged, whatever else the monitor has to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from equipoise.conduct.judge import Judged
from equipoise.conduct.judges import OnlineJudges
from equipoise.monitor.loop import News

__all__ = ["Judging"]

_EVERY_S = 1.0
_TOGETHER = 8
"""So many turns of one experiment before it is another's turn."""
_TOLD_S = 60.0
"""What was judged is said once a minute: one by one it would be a line for every turn."""


@dataclass(slots=True)
class _Stand:
    """What was judged of one revision since the monitor began, and what of that was not said yet."""

    last: Judged = field(default_factory=Judged)
    scored: int = 0
    unscored: Counter[str] = field(default_factory=Counter)
    unsaid: int = 0
    unsaid_aside: Counter[str] = field(default_factory=Counter)
    told: float = 0.0


class Judging:
    """Judges what is due of every experiment that asks for it, and says once a minute how much that was.

    What is the matter (a judge that cannot be reached, a budget that is spent) is said when it begins and when it is over.
    """

    name = "judge"

    def __init__(self, judges: OnlineJudges, *, every: float = _EVERY_S) -> None:
        self.every = every
        self._judges = judges
        self._stands: dict[str, _Stand] = {}

    def run(self, now: float, stopping: Callable[[], bool]) -> Iterator[News]:
        """Judge until nothing more is due."""
        busy = True
        while busy and not stopping():
            busy = False
            for identity, told in self._judges.advance(_TOGETHER, stopping=stopping).items():
                stand = self._stands.setdefault(identity, _Stand())
                before, stand.last = stand.last.trouble, told
                stand.scored += told.scored
                stand.unsaid += told.scored
                stand.unscored.update(told.unscored)
                stand.unsaid_aside.update(told.unscored)
                busy = busy or told.scored > 0
                if told.trouble is not None and told.trouble != before:
                    yield News(says=told.trouble, experiment=identity, trouble=True)
                elif told.trouble is None and before is not None:
                    yield News(says="it is judged again", experiment=identity)
        for identity, stand in self._stands.items():
            if now - stand.told >= _TOLD_S and (stand.unsaid or stand.unsaid_aside):
                stand.told = now
                yield _news(identity, stand)

    def state(self) -> Mapping[str, Any]:
        """Of each experiment how many turns were scored, or will not be, and why; how many wait; what the day has cost."""
        return {
            "experiments": {
                identity: stand.last.to_dict() | {"scored": stand.scored, "unscored": dict(stand.unscored)}
                for identity, stand in tuple(self._stands.items())
            }
        }

    def close(self) -> None:
        """Let others judge."""
        self._judges.close()


def _news(identity: str, stand: _Stand) -> News:
    scored, aside = stand.unsaid, dict(stand.unsaid_aside)
    stand.unsaid, stand.unsaid_aside = 0, Counter()
    said = f"{scored:,} {'turn' if scored == 1 else 'turns'} judged"
    said += "".join(f"; {count:,} not judged: {why}" for why, count in aside.items())
    said += f"; {stand.last.waiting:,} wait" if stand.last.waiting else ""
    return News(
        says=said,
        experiment=identity,
        facts={"scored": scored, "unscored": aside, "waiting": stand.last.waiting},
    )
