"""What a gateway counts, and how it is told: the text form that Prometheus reads."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["Counts", "exposition"]

_LATENCY = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_OVERHEAD = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1)
_HISTOGRAMS: Mapping[str, tuple[str, str, tuple[float, ...]]] = {
    "latency_s": ("turn_seconds", "Seconds from the request to the end of the reply.", _LATENCY),
    "ttft_s": ("first_token_seconds", "Seconds to the first token of content.", _LATENCY),
    "overhead_s": ("overhead_seconds", "Seconds of a turn that the gateway itself took.", _OVERHEAD),
}
_TOLD = ("error", "cancelled", "blocked", "fallback", "redirected")


class Counts:
    """Numbers that only grow, cheap to add to."""

    def __init__(self) -> None:
        self.turns: Counter[tuple[str, str, str]] = Counter()
        self.marked: Counter[tuple[str, str, str]] = Counter()
        self.tokens: Counter[tuple[str, str, str]] = Counter()
        self.cost: dict[tuple[str, str], float] = {}
        self.histograms: dict[tuple[str, str, str], list[float]] = {}
        self.no_unit = self.unrecorded = self.clashes = self.errors = self.proxied = 0
        self.feedback = self.shadows = self.shadows_dropped = self.shadows_over_budget = 0

    def turn(self, experiment: str, variant: str | None, reason: str, facts: Mapping[str, Any]) -> None:
        """Count a turn."""
        arm = variant or "none"
        self.turns[experiment, arm, reason] += 1
        for name in _TOLD:
            if facts.get(name):
                self.marked[experiment, arm, name] += 1
        for name, (_, _, buckets) in _HISTOGRAMS.items():
            value = facts.get(name)
            if value is not None:
                kept = self.histograms.get((name, experiment, arm))
                if kept is None:
                    kept = self.histograms[name, experiment, arm] = [0.0] * (len(buckets) + 2)
                kept[bisect_left(buckets, value)] += 1
                kept[-1] += value
        for kind in ("input_tokens", "output_tokens", "cached_tokens"):
            if (count := facts.get(kind)) is not None:
                self.tokens[experiment, arm, kind.removesuffix("_tokens")] += count
        if (cost := facts.get("cost_usd")) is not None:
            self.cost[experiment, arm] = self.cost.get((experiment, arm), 0.0) + cost


def exposition(counts: Counts, gauges: Mapping[str, tuple[str, float]]) -> bytes:
    """All numbers in Prometheus's text form, by its own library.

    `gauges` are those of the moment, by name, with what they mean.
    """
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    class _Collector:
        def collect(self) -> Iterable[Any]:
            arm = ["experiment", "variant"]
            turns = CounterMetricFamily("equipoise_turns", "Turns served.", labels=[*arm, "reason"])
            for key, count in counts.turns.items():
                turns.add_metric(list(key), count)
            yield turns
            marked = CounterMetricFamily(
                "equipoise_turns_marked", "Turns that were so.", labels=[*arm, "mark"]
            )
            for key, count in counts.marked.items():
                marked.add_metric(list(key), count)
            yield marked
            tokens = CounterMetricFamily("equipoise_tokens", "Tokens.", labels=[*arm, "kind"])
            for key, count in counts.tokens.items():
                tokens.add_metric(list(key), count)
            yield tokens
            cost = CounterMetricFamily("equipoise_cost_usd", "Cost in US dollars, where known.", labels=arm)
            for pair, dollars in counts.cost.items():
                cost.add_metric(list(pair), dollars)
            yield cost
            for name, (shown, meaning, buckets) in _HISTOGRAMS.items():
                histogram = HistogramMetricFamily(f"equipoise_{shown}", meaning, labels=arm)
                for (kind, experiment, variant), kept in counts.histograms.items():
                    if kind != name:
                        continue
                    running, said = 0.0, []
                    for edge, found in zip([*map(str, buckets), "+Inf"], kept[:-1], strict=True):
                        running += found
                        said.append((edge, running))
                    histogram.add_metric([experiment, variant], said, sum_value=kept[-1])
                yield histogram
            for name, meaning in _PLAIN.items():
                yield CounterMetricFamily(f"equipoise_{name}", meaning, value=getattr(counts, name))
            for name, (meaning, value) in gauges.items():
                yield GaugeMetricFamily(f"equipoise_{name}", meaning, value=value)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector())
    return generate_latest(registry)


_PLAIN: Mapping[str, str] = {
    "no_unit": "Requests without the unit their experiment asks for, served unenrolled.",
    "unrecorded": "Requests of new units served unenrolled because the record was down.",
    "clashes": "Experiments that could not take part in a request because another sets the same.",
    "errors": "Requests at which the gateway itself failed.",
    "proxied": "Requests that are part of no experiment.",
    "feedback": "Outcomes taken in.",
    "shadows": "Turns that also went to a treatment, unseen.",
    "shadows_dropped": "Shadow turns left out because too many were under way.",
    "shadows_over_budget": "Shadow turns left out because the day's budget was spent.",
}
