"""What an answer says of itself, as the fields of a turn's fact: its tokens and model, and the rhythm of its stream."""

from __future__ import annotations

from typing import Any

from equipoise.providers.hearing import Heard
from equipoise.providers.timing import Timing

__all__ = ["of_heard", "of_timing"]


def of_heard(heard: Heard) -> dict[str, Any]:
    """Tokens, model, fingerprint, tool calls and finish reason of what was heard."""
    return {
        "input_tokens": heard.input_tokens,
        "output_tokens": heard.output_tokens,
        "cached_tokens": heard.cached_tokens,
        "model": heard.model,
        "fingerprint": heard.fingerprint,
        "tool_calls": heard.tool_calls or None,
        "finish_reason": heard.finish_reason,
    }


def of_timing(timing: Timing, output_tokens: int | None) -> dict[str, Any]:
    """Seconds to the first token, per token after it, and between neighbouring pieces; empty where no piece came."""
    if timing.ttft is None:
        return {}
    found: dict[str, Any] = {"ttft_s": timing.ttft, "tpot_s": timing.per_token(output_tokens)}
    gaps = timing.gaps()
    if gaps is not None:
        found["itl_s"] = timing.mean_gap()
        found["itl_p50_s"], found["itl_p95_s"], found["itl_max_s"] = gaps
    return found
