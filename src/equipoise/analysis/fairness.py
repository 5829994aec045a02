"""Whether chance was fair: counts that a declared chance would hardly give make everything below them worthless."""

from __future__ import annotations

from equipoise.analysis.findings import Check
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.health.sample_ratio import AnytimeSampleRatio, SampleRatio

__all__ = ["ALARM", "judged"]

ALARM = 0.001
"""Counts this improbable under the declared chance invalidate the experiment."""


def judged(
    name: str,
    found: SampleRatio | AnytimeSampleRatio | NotEstimable,
    *,
    fair: str,
    unfair: str,
    cause: str,
    seen: str | None = None,
) -> Check:
    """What a test of counts says: that they were `fair`, or `unfair` because of a `cause`; parts of a sentence.

    Where they are not, what was `seen` is told, or else what was expected.
    """
    if isinstance(found, NotEstimable):
        return Check(name, "note", f"cannot be judged: {found.reason}")
    p = f"p = {found.p_value:.3g}"
    if found.p_value < ALARM:
        expected = ", ".join(f"{arm} {count:,.0f}" for arm, count in found.expected.items())
        seen = f"expected {expected}" if seen is None else seen
        return Check(
            name,
            "invalid",
            f"{unfair} ({seen}; {p} is below {ALARM}): {cause}. Find out where before reading anything else",
            found.p_value,
        )
    return Check(name, "ok", f"{fair} ({p})", found.p_value)
