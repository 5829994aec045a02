"""What a gateway costs: CPU, latency and memory of each contender, beside a plain nginx and the upstream alone.

    python bench/gateway.py            (some minutes)
    python bench/gateway.py --quick    (under a minute, wider ranges)

Contenders have one core, load and upstream the other, and are measured in turn: A B C, C B A, A B C … A figure is
the median over these rounds, with the least and the greatest. CPU seconds of the process tree are the robust
figure; `busy` says how much of its core a contender used, so 1 is saturation. A ratio is taken within a round.
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from online.contenders import Make, Rig, Running, missing, nginx, passthrough, rig
from online.ours import gateway
from pairs import report

FLOOR = "nginx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is asked. In a round: requests and streams at saturation, paced streams, requests at 100/s; and once
    for each contender, the requests over which its memory is watched.
    """

    rounds: int = 7
    requests: int = 20_000
    streams: int = 200
    paced_tokens: int = 400
    at_rate: int = 600
    watched: int = 100_000


QUICK = Size(rounds=2, requests=4_000, streams=64, paced_tokens=100, at_rate=80, watched=10_000)
CONNECTIONS = 64
STREAMS_AT_ONCE = 16
PACED_AT_ONCE = 160
"""Enough to keep a core busy at the most that a gateway may cost, and too few for it to fall behind and merge."""
GAP_MS = 10
CHUNKS = 400
RATE = 100
ANSWER_TOKENS = 20
WARM = ("--requests", "500", "--rate", "0")


def definition(port: int) -> str:
    """The experiment file `bench` of a gateway before the upstream at `port`: two variants, three inline checks."""
    endpoint = f'{{base_url: "http://127.0.0.1:{port}/v1"}}'
    return f"""\
name: bench
hypothesis: None; this is a benchmark.
unit: {{type: conversation, from: header:x-conversation-id}}
changes: [params]
variants:
  control: {{model: bench-model, params: {{temperature: 0.3}}, endpoint: {endpoint}}}
  treatment: {{model: bench-model, params: {{temperature: 0.7}}, endpoint: {endpoint}}}
metrics:
  latency_p50: {{priority: primary}}
  error_rate: {{priority: secondary}}
  cost_per_response: {{priority: secondary}}
inline: [pii, toxicity, length]
prices:
  bench-model: {{input: 0.15, output: 0.6}}
"""


def shadowed(port: int) -> str:
    """The same with a fifth of control's turns also sent to the treatment; all units are in control's hands."""
    return (
        definition(port).replace(
            "name: bench", "name: bench\nallocation: {control: 99/100, treatment: 1/100}"
        )
        + "rollout: {stages: [ab], shadow: {share: 20%}}\n"
    )


def alone(port: int) -> str:
    """What the one above is held against."""
    return shadowed(port).replace("share: 20%", "share: 0%")


MAKES: tuple[Make, ...] = (
    nginx,
    passthrough,
    gateway("equipoise, known units", "known", definition),
    gateway("equipoise, new units", "new", definition),
)


def rounds(number: int, all_: Sequence[Running]) -> Iterator[Sequence[Running]]:
    """The contenders forwards and backwards in turn, so that none is always measured first."""
    for one in range(number):
        yield all_ if one % 2 == 0 else all_[::-1]


def spread(name: str, values: Sequence[float]) -> dict[str, float]:
    return {name: statistics.median(values), f"{name}_low": min(values), f"{name}_high": max(values)}


def in_turn(
    rig: Rig,
    number: int,
    load: Sequence[str],
    measure: Callable[[Running], dict[str, float]],
    *,
    direct: bool = False,
) -> dict[str, list[dict[str, float]]]:
    """What was measured of each contender, round by round, after it has been warmed by the same kind of load."""
    measured = ((rig.direct,) if direct else ()) + rig.contenders
    for one in measured:
        rig.load(one, *load, *WARM, "--tokens", str(ANSWER_TOKENS))
    taken: dict[str, list[dict[str, float]]] = {one.name: [] for one in measured}
    for order in rounds(number, measured):
        for one in order:
            taken[one.name].append(measure(one))
    return taken


def cpu(rig: Rig, figure: str, number: int, of: str, *load: str) -> None:
    """CPU microseconds of each contender for one of `of` (requests or chunks), and the ratio to nginx."""

    def measure(one: Running) -> dict[str, float]:
        before = one.cpu_s()
        seen = rig.load(one, *load)
        used = one.cpu_s() - before
        return {
            "cpu_us": 1e6 * used / seen[of],
            "busy": used / seen["wall_s"],
            "per_s": seen[of] / seen["wall_s"],
            "reads": seen["reads"] / seen[of],
        }

    taken = in_turn(rig, number, load, measure)
    for name, values in taken.items():
        figures = spread("cpu_us", [one["cpu_us"] for one in values])
        if FLOOR in taken and name != FLOOR:
            pairs = zip(values, taken[FLOOR], strict=True)
            figures |= spread("ratio", [one["cpu_us"] / floor["cpu_us"] for one, floor in pairs])
        for also in ("busy", "per_s", *(("reads",) if of == "chunks" else ())):
            figures[also] = statistics.median(one[also] for one in values)
        report(f"gateway, {figure}: {name}", figures)


def requests_cpu(makes: Sequence[Make], size: Size) -> None:
    """CPU of a request at saturation: 1,000 times this is the CPU of 1,000 requests."""
    with rig(makes) as one:
        load = ("--requests", str(size.requests), "--connections", str(CONNECTIONS))
        cpu(one, "CPU of a request", size.rounds, "requests", *load)


def chunks_cpu(makes: Sequence[Make], size: Size) -> None:
    """CPU of a stream chunk: at a pace at which none are merged, and as quickly as the upstream can write.

    At full speed chunks pile up before whoever is slower, who then reads several at once and looks cheap: `reads`
    says how many reads the caller needed for a chunk. At 10 ms a chunk each is read and written by itself, as in
    the service of a model, so this is the figure to go by.
    """
    with rig(makes, chunks=CHUNKS, gap_ms=GAP_MS) as one:
        load = ("--stream", "--requests", str(PACED_AT_ONCE), "--connections", str(PACED_AT_ONCE))
        tokens = ("--tokens", str(size.paced_tokens))
        cpu(one, f"CPU of a chunk, {GAP_MS} ms apart", size.rounds, "chunks", *load, *tokens)
    with rig(makes, chunks=CHUNKS) as one:
        load = ("--stream", "--requests", str(size.streams), "--connections", str(STREAMS_AT_ONCE))
        cpu(one, "CPU of a chunk, full speed", size.rounds, "chunks", *load)


def memory(makes: Sequence[Make], size: Size) -> None:
    """Memory of the greatest process after a tenth of the requests and after all, and the most it ever held."""
    with rig(makes) as one:
        for each in one.contenders:
            load = ("--connections", str(CONNECTIONS), "--requests")
            one.load(each, *load, str(size.watched // 10))
            early = each.memory_mib()
            one.load(each, *load, str(size.watched))
            late = each.memory_mib()
            figures = {"early_mib": early, "late_mib": late, "growth": late / early - 1}
            report(f"gateway, memory: {each.name}", figures | {"peak_mib": each.peak_mib()})


def latency(makes: Sequence[Make], size: Size) -> None:
    """At 100 requests a second over the upstream alone: added to the whole reply, and to the first token.

    The upstream waits for nothing, so whatever a gateway does beside the model's own latency is in the figure.
    """
    load = ("--rate", str(RATE), "--requests", str(size.at_rate))
    with rig(makes) as one:
        taken = in_turn(one, size.rounds, load, lambda at: one.load(at, *load), direct=True)
        added("whole reply", "total", taken)
        streamed = (*load, "--stream", "--tokens", str(ANSWER_TOKENS))
        taken = in_turn(one, size.rounds, streamed, lambda at: one.load(at, *streamed), direct=True)
        added("first token of a stream", "first_token", taken)


def added(figure: str, time_to: str, taken: dict[str, list[dict[str, float]]]) -> None:
    floor = taken["direct"]
    for name, values in taken.items():
        figures = spread("p50_ms", [1e3 * one[f"{time_to}_p50_s"] for one in values])
        figures |= spread("p99_ms", [1e3 * one[f"{time_to}_p99_s"] for one in values])
        if name != "direct":
            for part in ("p50", "p99"):
                pairs = zip(values, floor, strict=True)
                key = f"{time_to}_{part}_s"
                figures |= spread(f"added_{part}_ms", [1e3 * (one[key] - bare[key]) for one, bare in pairs])
        report(f"gateway, {RATE}/s, {figure}: {name}", figures)


def shadow(size: Size) -> None:
    """The 99th percentile with a fifth of the traffic shadowed, less that without, at 100 requests a second."""
    makes = (
        gateway("equipoise, no shadow", "known", alone),
        gateway("equipoise, a fifth shadowed", "known", shadowed, shadows=True),
    )
    load = ("--rate", str(RATE), "--requests", str(2 * size.at_rate))
    with rig(makes, first_ms=20) as one:
        taken = in_turn(one, size.rounds, load, lambda at: one.load(at, *load))
        without, with_ = (taken[each.name] for each in one.contenders)
        pairs = list(zip(with_, without, strict=True))
        figures = {
            key: value
            for part in ("p50", "p99")
            for key, value in spread(
                f"more_{part}_ms",
                [1e3 * (one[f"total_{part}_s"] - other[f"total_{part}_s"]) for one, other in pairs],
            ).items()
        }
        report("gateway, 100/s, a fifth shadowed less none", figures)


def memory_record_down(size: Size) -> None:
    """The same with the log locked by somebody else: what cannot be kept waits up to a bound and is then dropped."""
    for units in ("known", "new"):
        # A unit whose exposure could not be kept is asked for a second time, with the default.
        made = gateway(f"equipoise, {units} units", units, definition, shadows=units == "new")
        with rig((made,)) as one:
            each = one.contenders[0]
            load = ("--connections", str(CONNECTIONS), "--requests")
            one.load(each, *load, str(size.watched // 10))
            early = each.memory_mib()
            log = each.contender.argv[each.contender.argv.index("--log") + 1]
            lock = sqlite3.connect(log, isolation_level=None)
            lock.execute("BEGIN EXCLUSIVE")
            one.load(each, *load, str(size.watched))
            late = each.memory_mib()
            lock.close()
            figures = {"early_mib": early, "late_mib": late, "growth": late / early - 1}
            report(f"gateway, memory, record down: {each.name}", figures | {"peak_mib": each.peak_mib()})


def commit(size: Size) -> None:
    """What a commit of the disk takes beside it: 4 KiB written and synchronised, as the record of a new unit is."""
    taken = []
    with tempfile.TemporaryFile() as file:
        for _ in range(size.at_rate):
            start = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fdatasync(file.fileno())
            taken.append(1e3 * (time.perf_counter() - start))
    taken.sort()
    report(
        "gateway, a commit of the disk",
        {"p50_ms": statistics.median(taken), "p99_ms": taken[-len(taken) // 100]},
    )


def main(size: Size | None = None, makes: Sequence[Make] = MAKES) -> None:
    why = missing()
    if why is not None:
        print(f"gateway: not measured, as {why}.", flush=True)
        return
    size = size or Size()
    with rig(makes) as one:
        for name, reason in one.absent.items():
            print(f"gateway: {name} is left out, as {reason}.", flush=True)
    requests_cpu(makes, size)
    chunks_cpu(makes, size)
    latency(makes, size)
    shadow(size)
    memory(makes, size)
    memory_record_down(size)
    commit(size)


if __name__ == "__main__":
    main(QUICK if "--quick" in sys.argv[1:] else None)
