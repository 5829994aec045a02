"""The draw: may the unit take part, when did it enter, and which variant is its own."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from equipoise.assignment.enrolled import Enrolled
from equipoise.assignment.epochs import Epoch, History
from equipoise.assignment.hashing import MAX_UNIT, prefix, salt, unit_bytes
from equipoise.assignment.splitting import Splitter, threshold
from equipoise.assignment.switchback import Schedule, schedule_of
from equipoise.errors import UsageError
from equipoise.experiment.variant import freeze

if TYPE_CHECKING:
    from equipoise.experiment.definition import Experiment

__all__ = ["Assigner", "Draw", "Reason"]

Reason = Literal[
    "split",
    "forced",
    "redirected",
    "removed",
    "shipped",
    "not_targeted",
    "held_out",
    "other_layer",
    "not_covered",
    "before_start",
    "bad_id",
    "bad_time",
    "paused",
    "not_live",
    "stale",
    "unrecorded",
    "no_unit",
]
_NONE: Mapping[str, Any] = MappingProxyType({})
_FOR_THE_NEW = ("paused", "stale")
_ABOVE = b"\xff" * 33
"""Above every digest of 32 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draw:
    """What a unit gets, and why; there is one of these for all units that get the same.

    `variant` is the arm the unit belongs to, or None for one that is not part of the experiment: it is
    served the default and is in particular not control. `config` holds the settings that are served: the
    variant's own, or the default's. `counts` says whether serving it is an exposure. `probability` is the
    variant's share of the enrolled when the unit entered, in `epoch`.
    """

    experiment: Experiment
    variant: str | None
    reason: Reason
    probability: float | None = None
    epoch: int = 0
    config: Mapping[str, Any]
    counts: bool = False
    serves: str = "control"


class Assigner:
    """Draws for one experiment as it stands; made anew whenever the experiment moves.

    `history` holds its epochs (see `History`). `service` is `open`, `paused` or `redirected`; `closed` then
    names the reason why nobody new may enter (`paused`, `stale`, `not_live`), from the time
    `closed_since` on. `forced` maps units of testers to a variant: they are served it and never counted.
    `shipped` names the variant that is everyone's default outside the holdouts. `enrolled` knows who is in
    already: closed doors (`paused`, `stale`) and targeting are for those who are not.

    Holdouts, layer, coverage and split hash under labels and salts of their own, so they are independent of
    one another; holdouts and layers hash alike for every experiment that names them.
    """

    def __init__(
        self,
        experiment: Experiment,
        history: History,
        *,
        redirected: bool = False,
        closed: Reason | None = None,
        closed_since: float = 0.0,
        forced: Mapping[str, str] = _NONE,
        shipped: str | None = None,
        enrolled: Enrolled | None = None,
    ) -> None:
        self.experiment = experiment
        self._enrolled = enrolled
        self.history = history
        self._salt = salt(experiment.name, experiment.assignment_version)
        self._configs = {variant.name: freeze(variant.settings) for variant in experiment.variants}
        self._redirected, self._closed, self._closed_since = redirected, closed, closed_since
        self._outside: dict[Reason, Draw] = {
            reason: Draw(experiment=experiment, variant=None, reason=reason, config=self._configs["control"])
            for reason in get_args(Reason)
        }
        self._epochs = {epoch.number: self._drawn(epoch) for epoch in history.epochs}
        self._current = self._epochs[history.current.number] if history.current else None
        # One epoch that has begun is the epoch of everybody whose id tells no time.
        self._alone = self._current if len(history.epochs) == 1 else None
        self._timed = experiment.unit.id == "uuid7"
        self._forced = {unit: self._served(variant, "forced") for unit, variant in forced.items()}
        self._shipped = None if shipped is None else self._served(shipped, "shipped")
        self._holdouts = [
            (prefix("holdout", name), threshold(share) or _ABOVE)
            for name, share in experiment.holdouts.items()
            if share
        ]
        # What ships is for everyone outside the holdouts: nothing more is asked.
        self._target = [(each.attribute, each.tester()) for each in experiment.target if shipped is None]
        layer = experiment.layer if shipped is None else None
        whole = layer is None or (layer.start == 0 and layer.end == 1)
        self._layer = (
            None
            if layer is None or whole
            else (
                prefix("layer", layer.name),
                threshold(layer.start) or _ABOVE,
                threshold(layer.end) or _ABOVE,
            )
        )
        # Where it need not be asked when a unit entered, coverage and split are all that is left to ask; and
        # where nothing comes before them and everybody is covered, the split alone is asked, at once.
        self._asked = bool(self._timed or self._closed or self._shipped)
        self._first = bool(self._forced or self._holdouts or self._target or self._layer)
        self._now = history.clock.now
        self._last: _Inlined | None = None
        self._split: _Split | None = None
        self._turn()

    def _served(self, variant: str, reason: Reason) -> Draw:
        if variant not in self._configs:
            raise UsageError(
                f"{self.experiment.identity} has no variant '{variant}'; it has {', '.join(self._configs)}"
            )
        return Draw(
            experiment=self.experiment,
            variant=None if reason == "shipped" else variant,
            reason=reason,
            config=self._configs[variant],
            serves=variant,
        )

    def _drawn(self, epoch: Epoch) -> tuple[Splitter | Schedule, tuple[Draw, ...]]:
        """An epoch's split, and what each arm of it draws."""
        splitter = (
            Splitter(self._salt, epoch.shares, epoch.coverage)
            if self.experiment.switchback is None
            else schedule_of(self.experiment, shares=epoch.shares, coverage=epoch.coverage)
        )
        draws = []
        for name in splitter.arms:
            removed = name not in self._configs or name not in self.history.kept
            reason: Reason = "removed" if removed else "redirected" if self._redirected else "split"
            own = reason == "split"
            draws.append(
                Draw(
                    experiment=self.experiment,
                    variant=name,
                    reason=reason,
                    probability=float(epoch.shares[name]),
                    epoch=epoch.number,
                    config=self._configs[name if own else "control"],
                    counts=own,
                    serves=name if own else "control",
                )
            )
        return splitter, tuple(draws)

    @property
    def closed(self) -> Reason | None:
        """Why nobody new may enter; None where they may."""
        return self._closed

    def force(self, variant: str) -> Draw:
        """A tester's draw: this variant, and nothing counted. UsageError where there is no such variant."""
        return self._served(variant, "forced")

    def outside(self, reason: Reason) -> Draw:
        """What a unit gets that takes no part, for a reason."""
        return self._outside[reason]

    def draw(
        self,
        unit: str,
        attributes: Mapping[str, Any] = _NONE,
        *,
        entered: int | None = None,
    ) -> Draw:
        """The draw of a unit. UsageError for what cannot name one: it is refused, never bucketed.

        `entered` is the epoch a token or a pin says the unit entered in.
        """
        # Every unit of every request comes through here: what most experiments do not ask for is not asked.
        if type(unit) is not str or not unit or len(unit) > MAX_UNIT or unit.isspace():
            name = unit_bytes(unit)
        else:
            try:
                name = unit.encode()
            except UnicodeEncodeError:
                name = unit_bytes(unit)
        if entered is None and (split := self._split) is not None:
            before, cuts, drawn, begins, ends = split
            if begins is None or begins <= self._now() < ends:
                return drawn[bisect_right(cuts, sha256(before + name).digest())]
        if self._forced and unit in self._forced:
            return self._forced[unit]
        for before, share in self._holdouts:
            if sha256(before + name).digest() < share:
                return self._outside["held_out"]
        for attribute, holds in self._target:
            if not holds(attributes.get(attribute)):
                if entered is not None or self._is_in(unit):
                    break
                return self._outside["not_targeted"]
        if self._layer is not None:
            before, start, end = self._layer
            if not start <= sha256(before + name).digest() < end:
                return self._outside["other_layer"]
        if entered is None and (last := self._last) is not None:
            before, cuts, drawn, begins, ends, coverage, covered = last
            if begins is None or begins <= self._now() < ends:
                if covered is not None and sha256(coverage + name).digest() >= covered:
                    return self._outside["not_covered"]
                return drawn[bisect_right(cuts, sha256(before + name).digest())]
            self._turn()
        return self._by_epoch(unit, name, entered)

    def _turn(self) -> None:
        """Keep at hand what an epoch that lasts for now draws for units whose ids tell no time."""
        present = self.history.present()
        if self._asked or present is None:
            return
        epoch, begins, ends = present
        last = _inlined(*self._epochs[epoch.number], None if self._alone is not None else begins, ends)
        self._last = last
        if not self._first and last is not None and last[-1] is None:
            self._split = last[:5]
        else:
            self._split = None

    def _by_epoch(self, unit: str, name: bytes, entered: int | None) -> Draw:
        """The draw where it must be asked when the unit entered, or whether it may still."""
        if self._shipped is not None:
            return self._shipped
        # What began before the doors were closed is in already, and so is whoever has a token or a pin.
        known = entered is not None
        if entered is not None:
            chosen = self._epochs.get(entered)
            if chosen is None:
                return self.outside("stale")
        else:
            began = self.history.time_of(unit) if self._timed else None
            if isinstance(began, str):
                return self.outside(began)
            if began is None and self._alone is not None:
                chosen = self._alone
            else:
                epoch = self.history.at(began)
                if epoch is None:
                    return self.outside("before_start")
                chosen = self._epochs[epoch.number]
            known = began is not None and began < self._closed_since
        splitter, draws = chosen
        place = splitter.place(name)
        if place < 0:
            return self._outside["not_covered"]
        if self._closed is not None and not known:
            stays = self._closed in _FOR_THE_NEW and self._is_in(unit)
            return draws[place] if stays else self.outside(self._closed)
        return draws[place]

    def _is_in(self, unit: str) -> bool:
        return self._enrolled is not None and self._enrolled.holds(self.experiment.name, unit)

    def closing(self, reason: Reason, since: float) -> Assigner:
        """The same assigner with its doors closed to whoever is new; itself where they are closed already."""
        if self._closed is not None:
            return self
        clone = object.__new__(Assigner)
        clone.__dict__.update(self.__dict__)
        clone._closed, clone._closed_since = reason, since
        clone._split, clone._last = None, None
        return clone


_Split = tuple[bytes, tuple[bytes, ...], tuple[Draw, ...], float | None, float]
_Inlined = tuple[bytes, tuple[bytes, ...], tuple[Draw, ...], float | None, float, bytes, bytes | None]


def _inlined(
    splitter: Splitter | Schedule, draws: tuple[Draw, ...], begins: float | None, ends: float
) -> _Inlined | None:
    """What `Splitter.place` looks at, for a path where a call is a tenth of the time; None where blocks are drawn.

    And from when until when it is what is drawn: `begins` is None for always.
    """
    if isinstance(splitter, Schedule):
        return None
    return splitter.before, splitter.cuts, draws, begins, ends, splitter.before_coverage, splitter.covered
