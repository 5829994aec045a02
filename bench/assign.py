"""`Router.assign` against a bare SHA-256 of as many bytes as it hashes for a unit, and what it keeps in memory."""

from __future__ import annotations

import gc
import json
import random
import time
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from hashlib import sha256
from typing import Any
from uuid import UUID

from pairs import against, report

from equipoise.assignment.assigning import Assigner
from equipoise.assignment.epochs import Epoch, History
from equipoise.assignment.hashing import prefix, salt
from equipoise.conduct.register import register
from equipoise.events.log import MemoryLog
from equipoise.experiment.reading import read_canonical
from equipoise.sdk.router import Router

UNITS = [str(UUID(int=n * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)) for n in range(100_000)]
MILLION = 1_000_000
COMING = [
    str(
        UUID(
            int=(int(time.time() * 1000) << 80)
            | 7 << 76
            | n % 4096 << 64
            | 2 << 62
            | n * 0x9E3779B97F4A7C15 % 2**62
        )
    )
    for n in range(20_000)
]
DEFINITION: dict[str, Any] = {
    "name": "bench",
    "hypothesis": "None; this is a benchmark.",
    "unit": "conversation",
    "changes": ["model"],
    "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
    "metrics": {"resolution_rate": {"priority": "primary"}},
}
WHOLE = DEFINITION | {
    "attributes": {"country": {"type": "text"}},
    "target": {"country": ["DE", "FR"]},
    "holdouts": {"all": "1%"},
    "layer": {"name": "bots", "range": ["0", "99/100"]},
}
FORCED = {f"tester-{n}": "treatment" for n in range(50)}
KNOWN = {"country": "DE"}


def main() -> None:
    before = prefix("split", salt("bench"))
    # What is hashed for such a unit: some sixty bytes.
    keys = [before + unit.encode() for unit in UNITS]
    plain = Router(read_canonical(DEFINITION))
    ramping = Router(read_canonical(DEFINITION), coverage=0.5)
    whole = Router(read_canonical(WHOLE), forced=FORCED)
    known = Router(read_canonical(DEFINITION), log=MemoryLog())
    log = MemoryLog()
    register(log, read_canonical(DEFINITION), by="bench")
    following = Router.follow("bench", log)
    served = UNITS[:20_000]
    for unit in served:
        known.assign(unit).expose()
    known.flush()
    ab, bandit = weighted(1, 2, "uuid7"), weighted(500, 10, "uuid7")
    plain_ab, plain_bandit = weighted(1, 2, "token"), weighted(500, 10, "token")

    def floor() -> None:
        for key in keys:
            sha256(key).digest()

    def floor_served() -> None:
        for key in keys[:20_000]:
            sha256(key).digest()

    def assigning(router: Router, units: list[str]) -> Callable[[], None]:
        assign = router.assign

        def work() -> None:
            for unit in units:
                assign(unit)

        return work

    def assign_whole() -> None:
        assign = whole.assign
        for unit in UNITS:
            assign(unit, KNOWN)

    print(json.dumps({"figure": "bytes hashed by the floor", "bytes": len(keys[0])}))
    report("assign, new units / bare sha256", against(assigning(plain, UNITS), floor))
    report("assign, known units / bare sha256", against(assigning(known, served), floor_served))
    report("assign, half coverage / bare sha256", against(assigning(ramping, UNITS), floor))
    report("assign, layer, holdout, target and forced table / bare sha256", against(assign_whole, floor))
    report("assign of a router that follows a log / bare sha256", against(assigning(following, UNITS), floor))
    among = "assign among ten arms by the weights of 500 epochs / A/B"
    report(f"{among}, by UUIDv7", against(drawing(bandit), drawing(ab)))
    report(f"{among}, by token", against(drawing(plain_bandit, 499), drawing(plain_ab, 0)))
    report(f"{among}, coming in without either", against(drawing(plain_bandit), drawing(plain_ab)))
    following.close()
    known.close()
    memory(plain)


def weighted(epochs: int, arms: int, known_by: str) -> Assigner:
    """An experiment whose units say when they came in, after so many epochs of weights of their own."""
    names = ["control", *(f"arm-{n}" for n in range(1, arms))]
    experiment = read_canonical(
        DEFINITION
        | {
            "unit": {"type": "conversation", "id": known_by},
            "variants": {name: {"model": name} for name in names},
        }
    )
    weights = [random.Random(epoch).choices(range(1, 100), k=arms) for epoch in range(epochs)]
    history = [
        Epoch(number, number * 3600.0, {n: Fraction(w, sum(some)) for n, w in zip(names, some, strict=True)})
        for number, some in enumerate(weights)
    ]
    return Assigner(experiment, History(history))


def drawing(assigner: Assigner, entered: int | None = None) -> Callable[[], None]:
    """Units that came in during the last epoch, as most of those that are served did."""

    def work() -> None:
        for unit in COMING:
            assigner.draw(unit, entered=entered)

    return work


def memory(router: Router) -> None:
    """What stays in memory after assigning a million distinct units."""
    for unit in UNITS[:1_000]:
        router.assign(unit)
    gc.collect()
    tracemalloc.start()
    start, _ = tracemalloc.get_traced_memory()
    for n in range(MILLION):
        router.assign(f"unit-{n}")
    gc.collect()
    end, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    report("memory of 1,000,000 assigned units", {"kept_bytes": end - start, "peak_bytes": peak - start})


if __name__ == "__main__":
    main()
