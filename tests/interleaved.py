"""An interleaved experiment of two rankers, as data."""

from __future__ import annotations

from typing import Any

from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical

BASE: dict[str, Any] = {
    "name": "search",
    "hypothesis": "The dense ranker finds what people look for higher up.",
    "unit": "user",
    "method": "interleaving",
    "variants": {"control": {}, "treatment": {}},
    "metrics": {"preference": {"priority": "primary", "kind": "proportion", "of": "outcome.click", "better": "higher"}},
}  # fmt: skip


def experiment(**more: Any) -> Experiment:
    return read_canonical(BASE | more)
