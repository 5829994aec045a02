"""`Router.assign` against a bare SHA-256 of as many bytes as it hashes for a unit, and what it keeps in memory."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from uuid import UUID

from pairs import against, report

from equipoise.assignment.hashing import prefix, salt
from equipoise.conduct.register import register
from equipoise.events.log import MemoryLog
from equipoise.experiment.reading import read_canonical
from equipoise.sdk.router import Router

UNITS = [str(UUID(int=n * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)) for n in range(100_000)]
MILLION = 1_000_000
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
    following.close()
    known.close()
    memory(plain)


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
