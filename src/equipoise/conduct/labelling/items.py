"""What people are asked about: an item and its texts; those of a run of the arena, drawn by a hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, Protocol

import orjson

from equipoise.errors import DataError
from equipoise.events.texts import Said
from equipoise.experiment.definition import Experiment

__all__ = [
    "ASKS",
    "Ask",
    "CaseSource",
    "Item",
    "Material",
    "Source",
    "cases_of_run",
    "fraction_of",
]

Ask = Literal["preference", "grades", "thumbs"]
ASKS: tuple[Ask, ...] = ("preference", "grades", "thumbs")


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing to label. `item` is a trace or a case's id; `variant` the arm that is graded, or compared with control.

    `draw` and `probability` are as in a `Label`. `cluster` names what belongs together: the unit of a turn, the cluster
    of a case. `week` is the one whose audit set it belongs to, as `audit_set.week_of` counts them; None where labels are not
    rationed by the week.
    """

    item: str
    variant: str
    unit: str | None = None
    trace: str | None = None
    cluster: str | None = None
    draw: str = "audit"
    probability: float = 1.0
    week: int | None = None

    @cached_property
    def key(self) -> str:
        """What stands for the item on a page: 128 bits of BLAKE2b, which name neither trace nor variant."""
        return blake2b(f"{self.item}\0{self.variant}".encode("utf-8", "replace"), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """The texts of an item: what was asked, the context of the answer, and an answer by variant."""

    asked: tuple[Said, ...]
    answers: Mapping[str, str]
    context: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """128 bits of BLAKE2b over the question and the answers: labels are of these texts and of no others."""
        plain = [[each.role, each.text] for each in self.asked], sorted(self.answers.items())
        return blake2b(repr(plain).encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


class Source(Protocol):
    """Where items and their texts come from. `ration` is how many are to be labelled a week, where that is said."""

    @property
    def items(self) -> Sequence[Item]: ...

    @property
    def ration(self) -> int | None: ...

    @property
    def grows(self) -> bool:
        """Whether items may join."""
        ...

    def fresh(self) -> Sequence[Item]:
        """The items that joined since this was asked last."""
        ...

    def read(self, item: Item) -> Material | None:
        """The texts of an item; None where they are there no more."""
        ...


@dataclass(frozen=True, slots=True)
class CaseSource:
    """Cases of a run of the arena: the first sample's answers."""

    items: tuple[Item, ...]
    materials: Mapping[str, Material] = field(repr=False)
    ration: None = None
    grows: bool = False

    def fresh(self) -> tuple[Item, ...]:
        """None: a run is over."""
        return ()

    def read(self, item: Item) -> Material | None:
        """The texts of an item, by its key."""
        return self.materials.get(item.key)


def fraction_of(salt: str, *what: str) -> float:
    """A number in [0, 1) that follows from a salt and what it is about, and from nothing else.

    >>> 0.0 <= fraction_of("seed 7", "draw", "item") < 1.0
    True
    """
    digest = blake2b("\0".join((salt, *what)).encode("utf-8", "replace"), digest_size=8).digest()
    # 53 bits fit a float exactly, so that 1 is never reached by rounding.
    return (int.from_bytes(digest, "big") >> 11) / 2.0**53


def cases_of_run(
    path: Path, experiment: Experiment, ask: Ask, *, share: float = 1.0, salt: str = ""
) -> CaseSource:
    """The cases of a run that `equipoise arena` kept, as items: for `preference` one for each treatment, else for each arm.

    Each is drawn with probability `share`. A case to which an arm gave no answer is no item of that arm. DataError for
    a file that is no such run, or holds none of the definition's variants.
    """
    kept = _run(path)
    arms = [variant.name for variant in experiment.variants]
    control = experiment.control.name
    items: list[Item] = []
    materials: dict[str, Material] = {}
    try:
        for case in kept["by_case"]:
            said = {name: told for name in arms if (told := _first(case["answers"].get(name))) is not None}
            asked = (Said("user", str(case["asked"])),)
            for name, text in said.items():
                if ask == "preference" and (name == control or control not in said):
                    continue
                shown = {name: text} | ({control: said[control]} if ask == "preference" else {})
                item = Item(
                    item=str(case["id"]), variant=name, cluster=case.get("cluster"), probability=share
                )
                if fraction_of(salt, "draw", item.key) < share:
                    items.append(item)
                    materials[item.key] = Material(asked=asked, answers=shown)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"the run {path} is not whole: {type(error).__name__} {error}. Run the arena again"
        ) from None
    if not kept["by_case"] or not any(name in case["answers"] for case in kept["by_case"] for name in arms):
        raise DataError(
            f"the run {path} holds no answer of {', '.join(arms)}. Run the arena with this definition, or name "
            "its run with --run"
        )
    return CaseSource(tuple(items), materials)


def _run(path: Path) -> Mapping[str, Any]:
    try:
        kept = orjson.loads(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"the run {path} cannot be read: {error.strerror or error}. Make it with: equipoise arena FILE"
        ) from None
    except orjson.JSONDecodeError as error:
        raise DataError(
            f"the run {path} is not JSON: {error}. Accepted: NAME.arena.json of `equipoise arena`"
        ) from None
    if not isinstance(kept, dict) or kept.get("equipoise") != "arena":
        raise DataError(f"{path} is no run of the arena. Accepted: NAME.arena.json of `equipoise arena`")
    return kept


def _first(samples: Sequence[str | None] | None) -> str | None:
    return samples[0] if samples else None
