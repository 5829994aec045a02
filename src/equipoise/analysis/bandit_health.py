"""The sample ratio of a bandit: whether units went where the shares of their own epoch sent them."""

from __future__ import annotations

from equipoise.analysis.fairness import judged
from equipoise.analysis.findings import Check
from equipoise.measurement.tally import EpochTallies, Measurement
from equipoise.stats.health.sample_ratio import Epoch, anytime_sample_ratio_by_epoch

__all__ = ["check_shares"]

_NAME = "sample ratio"
_SAME = 1e-9


def check_shares(measured: Measurement) -> Check:
    """Each epoch's units against its announced shares, and those against the probabilities that exposures hold.

    Looked at as the data come in. An exposure under another probability than its epoch's is of no use: whatever divides
    by it is wrong.
    """
    if not measured.epochs:
        return Check(
            _NAME,
            "invalid",
            f"{measured.source} does not say under which shares units came in, and without them no estimate of a bandit is "
            "honest. A log announces every epoch; a table says it in columns called `epoch` and `probability`, or named so "
            "in `source.columns`",
        )
    strange = [each.number for each in measured.epochs if each.shares is None]
    if strange:
        return Check(
            _NAME,
            "invalid",
            f"units came in during epoch {strange[0]}, which the log never announced; exposures of another log, or of "
            "another `assignment_version`, may be among them",
        )
    for each in measured.epochs:
        for arm, (low, high) in each.logged.items():
            share = (each.shares or {}).get(arm, 0.0)
            if max(abs(low - share), abs(high - share)) > _SAME:
                other = low if abs(low - share) > _SAME else high
                return Check(
                    _NAME,
                    "invalid",
                    f"in epoch {each.number} exposures to {arm} hold a probability of {other:.4g} where the epoch gave it "
                    f"{share:.4g}; find out who served them before reading anything else",
                )
    return judged(
        _NAME,
        anytime_sample_ratio_by_epoch([_counts(each) for each in measured.epochs]),
        fair="the units follow the shares of their epochs",
        unfair="the units do not follow the shares of their epochs",
        cause="units were lost or gained in one arm",
    )


def _counts(each: EpochTallies) -> Epoch:
    return Epoch(each.units, each.shares or {})
