"""An hour of a real service through the gateway: does the record say what the upstream saw?

    python bench/traffic.py                                 (all 19,366 requests at 20 times their speed: 3 minutes)
    python bench/traffic.py --requests 600 --speed 60

Requests come when they came to the service (../shared/data/traffic_azure_conv), through the real `openai` client, to
`equipoise serve` with two variants and three inline checks. Before a simulated upstream that waits as hosted models
do (../shared/data/latency_providers) and counts the tokens of the trace. Then the record is laid beside what the
upstream saw: tokens, cost, time to the first token, arm by arm.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
from online.contenders import free_port
from online.ours import RUN
from online.replay import Call, arrivals, latencies, replay

PIECES = 6
INPUT_USD, OUTPUT_USD = 0.15, 0.60
DEFINITION = """\
name: traffic
hypothesis: None; this replays an hour of real traffic.
unit: {{type: conversation, from: header:x-conversation-id}}
changes: [params]
variants:
  control: {{model: sim, params: {{temperature: 0.3}}, endpoint: {{base_url: "http://127.0.0.1:{port}/v1"}}}}
  treatment: {{model: sim, params: {{temperature: 0.7}}, endpoint: {{base_url: "http://127.0.0.1:{port}/v1"}}}}
metrics: {{ttft: {{priority: primary}}}}
inline: [pii, toxicity, length]
prices: {{sim: {{input: 0.15, output: 0.60}}}}
"""


def upstream(port: int, calls: Sequence[Call]) -> None:
    """The simulated upstream, in a process of its own; `GET /seen` tells what it saw of each request."""
    from aiohttp import web

    seen: dict[int, dict[str, Any]] = {}

    async def complete(request: web.Request) -> web.StreamResponse:
        start = time.monotonic()
        body = orjson.loads(await request.read())
        row = int(body["metadata"]["row"])
        call = calls[row]
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        pieces = max(1, min(PIECES, call.output_tokens))
        await asyncio.sleep(call.first_token_s)
        waited = time.monotonic() - start
        between = (call.total_s - call.first_token_s) / max(1, pieces - 1)
        for index in range(pieces):
            if index:
                await asyncio.sleep(between)
            delta = {"index": 0, "delta": {"content": "It ships today. "}, "finish_reason": None}
            await response.write(
                b"data: %b\n\n" % orjson.dumps({"id": "c", "model": "sim", "choices": [delta]})
            )
        done = {"index": 0, "delta": {}, "finish_reason": "stop"}
        await response.write(b"data: %b\n\n" % orjson.dumps({"id": "c", "model": "sim", "choices": [done]}))
        usage = {"prompt_tokens": call.prompt_tokens, "completion_tokens": call.output_tokens}
        await response.write(
            b"data: %b\n\ndata: [DONE]\n\n"
            % orjson.dumps({"id": "c", "model": "sim", "choices": [], "usage": usage})
        )
        seen[row] = {"temperature": body["temperature"], "ttft_s": waited, **usage}
        return response

    async def tell(_: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps({str(row): said for row, said in seen.items()}))

    app = web.Application(client_max_size=2**24)
    app.router.add_post("/v1/chat/completions", complete)
    app.router.add_get("/seen", tell)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


async def client(base_url: str, calls: Sequence[Call]) -> int:
    """Send every request when it is due; how many were answered whole."""
    from openai import AsyncOpenAI

    answered = 0

    async def one(row: int) -> None:
        nonlocal answered
        stream = await ask.chat.completions.create(
            model="experiment/traffic",
            messages=[{"role": "user", "content": "Where is my parcel?"}],
            metadata={"row": str(row)},
            stream=True,
            extra_headers={"x-conversation-id": f"row-{row}"},
        )
        pieces = 0
        async for chunk in stream:
            pieces += bool(chunk.choices and chunk.choices[0].delta.content)
        answered += pieces == max(1, min(PIECES, calls[row].output_tokens))

    async with (
        AsyncOpenAI(base_url=base_url, api_key="unused", max_retries=0) as ask,
        asyncio.TaskGroup() as all_,
    ):
        start = time.monotonic()
        for row, call in enumerate(calls):
            await asyncio.sleep(max(0.0, call.at_s - (time.monotonic() - start)))
            all_.create_task(one(row))
    return answered


def compare(log: Path, seen: dict[str, dict[str, Any]], count: int) -> dict[str, Any]:
    """The record beside what the upstream saw."""
    from equipoise.events.facts import Exposure, Turn
    from equipoise.events.opening import open_log

    record = open_log(log)
    facts = [each.fact for each in record.read_since(0, kinds=("exposure", "turn"))]
    record.close()
    turns = {fact.unit: fact for fact in facts if isinstance(fact, Turn)}
    exposures = [fact for fact in facts if isinstance(fact, Exposure)]
    arm = {0.3: "control", 0.7: "treatment"}
    wrong = {"tokens": 0, "cost": 0, "arm": 0, "missing": 0, "ttft_before_upstream": 0}
    late = []
    for row in range(count):
        turn, there = turns.get(f"row-{row}"), seen.get(str(row))
        if turn is None or there is None or turn.ttft_s is None:
            wrong["missing"] += 1
            continue
        tokens = (there["prompt_tokens"], there["completion_tokens"])
        wrong["tokens"] += (turn.input_tokens, turn.output_tokens) != tokens
        cost = (tokens[0] * INPUT_USD + tokens[1] * OUTPUT_USD) / 1e6
        wrong["cost"] += turn.cost_usd is None or abs(turn.cost_usd - cost) > 1e-12
        wrong["arm"] += turn.variant != arm[there["temperature"]]
        wrong["ttft_before_upstream"] += turn.ttft_s < there["ttft_s"]
        late.append(turn.ttft_s - there["ttft_s"])
    split = {name: sum(each.variant == name for each in exposures) for name in arm.values()}
    late.sort()
    return {
        "requests": count,
        "exposures": len(exposures),
        "split": split,
        "wrong": wrong,
        "ttft_beyond_upstream_ms": {
            "p50": 1e3 * statistics.median(late) if late else None,
            "p99": 1e3 * late[-max(1, len(late) // 100)] if late else None,
        },
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--requests", type=int, default=None)
    options.add_argument("--speed", type=float, default=20.0)
    said = options.parse_args()
    measured = latencies(model_size="7b")
    calls = list(islice(replay(arrivals(), measured, speed=said.speed), said.requests))
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        there, here = free_port(), free_port()
        (home / "traffic.yaml").write_text(DEFINITION.format(port=there), "utf-8")
        log = home / "log.db"
        ours = (sys.executable, "-c", RUN)
        subprocess.run(
            (*ours, "register", str(home / "traffic.yaml"), "--log", str(log)),
            check=True,
            capture_output=True,
        )
        process = multiprocessing.get_context("spawn").Process(
            target=upstream, args=(there, calls), daemon=True
        )
        process.start()
        place = ("--port", str(here), "--log", str(log), "--state", str(home / "state"), "--json")
        gateway = subprocess.Popen(
            (*ours, "serve", "--no-dashboard", *place), stdout=subprocess.PIPE, text=True
        )
        try:
            assert gateway.stdout is not None
            gateway.stdout.readline()
            wait_for(there)
            answered = asyncio.run(client(f"http://127.0.0.1:{here}/v1", calls))
            from urllib.request import urlopen

            seen = orjson.loads(urlopen(f"http://127.0.0.1:{there}/seen").read())
        finally:
            gateway.terminate()
            gateway.wait(60)
            process.terminate()
        result = {"figure": "traffic of an hour, the record beside the upstream", "answered": answered}
        print(json.dumps(result | compare(log, seen, len(calls))), flush=True)


def wait_for(port: int) -> None:
    import socket

    for _ in range(600):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"nothing listens on port {port}")


if __name__ == "__main__":
    main()
