"""Real traffic and real latencies, put together: when requests came, how long they were, how a model answers.

Arrivals and tokens are of one production service (../shared/data/traffic_azure_conv), latencies of hosted models
(../shared/data/latency_providers). No request was measured in both, so a latency is drawn for each arrival: the
time to the first token and the time between tokens of one measured request together, as they hang together.
"""

from __future__ import annotations

import csv
import gzip
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DATA", "Arrival", "Call", "Latency", "arrivals", "latencies", "replay"]

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request of the trace: seconds since the first one, and its tokens."""

    at_s: float
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Latency:
    """A measured streaming reply: seconds to its first token, and mean seconds between two tokens."""

    provider: str
    model_size: str
    first_token_s: float
    between_tokens_s: float


@dataclass(frozen=True, slots=True)
class Call:
    """A request to be replayed, and how the mock upstream answers it; all times are of the replay."""

    at_s: float
    prompt_tokens: int
    output_tokens: int
    first_token_s: float
    between_tokens_s: float

    @property
    def total_s(self) -> float:
        """Seconds from the request to the last token."""
        return self.first_token_s + self.between_tokens_s * max(0, self.output_tokens - 1)


def _rows(name: str, data: Path) -> Iterator[dict[str, str]]:
    path = data / name / "requests.csv.gz"
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}. Put the shared data beside the project.")
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def arrivals(data: Path = DATA) -> Iterator[Arrival]:
    """All 19,366 requests of the trace, in the order of their coming."""
    for row in _rows("traffic_azure_conv", data):
        yield Arrival(float(row["t_s"]), int(row["prompt_tokens"]), int(row["output_tokens"]))


def latencies(
    *, provider: str | None = None, model_size: str | None = None, data: Path = DATA
) -> list[Latency]:
    """The measured replies, all or those of one provider or model size ("7b", "13b").

    Failures are left out, and replies that were shorter than asked: their times are not measurements.
    """
    return [
        Latency(row["provider"], row["model_size"], float(row["ttft_s"]), float(row["inter_token_latency_s"]))
        for row in _rows("latency_providers", data)
        if not row["error_code"]
        and provider in (None, row["provider"])
        and model_size in (None, row["model_size"])
    ]


def replay(
    trace: Iterator[Arrival], measured: Sequence[Latency], *, speed: float = 1.0, seed: int = 0
) -> Iterator[Call]:
    """Each arrival with the latency of a measured reply drawn at random; `speed` 10 is ten times as quick."""
    if not measured:
        raise ValueError(
            "No measured reply is left to draw from. Ask for a provider and a size that are there."
        )
    if not speed > 0:
        raise ValueError(
            f"The speed {speed} is not above 0. Say 1 for the speed of the trace, 10 for ten times."
        )
    draw = random.Random(seed)
    for each in trace:
        drawn = draw.choice(measured)
        yield Call(
            each.at_s / speed,
            each.prompt_tokens,
            each.output_tokens,
            drawn.first_token_s / speed,
            drawn.between_tokens_s / speed,
        )
