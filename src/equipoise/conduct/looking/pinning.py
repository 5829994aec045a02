"""Pinning: what a look is computed from, so that computing it again later gives the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from equipoise.analysis.analysing import analyse
from equipoise.analysis.clocks import CLOCKS
from equipoise.analysis.findings import describe
from equipoise.analysis.looks import PastLook
from equipoise.conduct.calibration import calibrations
from equipoise.events.facts import Look, Registration
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.measurement.measuring import measure_log, measure_table
from equipoise.measurement.warehouse.connecting import Variable
from equipoise.stats.estimate import NotEstimable
from equipoise.verdict.analysis import Analysis
from equipoise.verdict.deciding import decide

__all__ = ["FORMAT", "Pin", "computed", "evidence", "plan_digest", "seen", "tools"]

FORMAT = 2
"""The format of a look's evidence. The first kept neither the hash of what was read nor the read-out."""

_TOOLS = ("duckdb", "numpy", "scipy")


@dataclass(frozen=True, slots=True)
class Pin:
    """What a look rests on: the revision with its plan, the looks before, the last position read, and whether it closes."""

    experiment: Experiment
    registration: Registration
    past: Sequence[Look]
    until: int
    closing: bool


def computed(log: EventLog, pin: Pin, variable: Variable | None = None) -> Analysis:
    """The analysis of a look, from nothing but what it is pinned to."""
    experiment = pin.experiment
    single = len(experiment.plan.looks) == 1
    table = experiment.source is not None
    # A bandit counts its way in units, an A/B test in information.
    units = pin.registration.plan.get("total")
    maximum = units if experiment.method == "bandit" else pin.registration.plan.get("information")
    findings = analyse(
        experiment,
        measure_table(experiment, variable=variable)
        if table
        else measure_log(experiment, log, until=pin.until),
        maximum=float(maximum) if isinstance(maximum, int | float) else NotEstimable(_reason(maximum)),
        units=float(units) if isinstance(units, int | float) else None,
        past=[
            PastLook(each.fraction, each.boundary, each.statistic, each.evidence.get("guard_boundary"))
            for each in pin.past
        ],
        closing=pin.closing or (table and single),
        repeated=not table,
        calibrations=() if table else calibrations(log, experiment, until=pin.until),
    )
    return Analysis(findings=findings, verdict=decide(findings))


def _reason(maximum: object) -> str:
    return str(maximum.get("not_estimable")) if isinstance(maximum, dict) else "no maximum was registered"


def seen(analysis: Analysis) -> dict[str, Any]:
    """Units and the primary's estimates: what a look of any format keeps."""
    return {
        "units": dict(analysis.findings.measurement.units),
        "primary": [describe(effect.estimate) for effect in analysis.findings.primary],
    }


def evidence(analysis: Analysis, pin: Pin) -> dict[str, Any]:
    """What a look keeps of itself, in JSON: what it is pinned to, what it read, and the read-out it gave.

    When events were received is no part of it: a copy of the log received them at other times, and a look at it is
    the same look.
    """
    read = analysis.findings.measurement.read
    return {
        "format": FORMAT,
        "position": pin.until,
        "plan": plan_digest(pin.registration),
        "facts": None if read is None else {**read.facts, "sha256": read.digest},
        "guard_boundary": analysis.findings.look.guard_boundary,
        **seen(analysis),
        "read_out": _read_out(analysis),
        "tools": tools(),
    }


def _read_out(analysis: Analysis) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(analysis.to_json(), parse_constant=str)
    del told["clocks"]
    return told | {"health": [check for check in told["health"] if check["name"] != CLOCKS]}


def plan_digest(registration: Registration) -> str:
    """SHA-256 of a registered plan."""
    return hashlib.sha256(json.dumps(dict(registration.plan), sort_keys=True).encode()).hexdigest()


def tools() -> dict[str, str]:
    """The versions of what computes: another one may round the last digit otherwise."""
    found = {"equipoise": _version("equipoise")}
    return found | {name: _version(name) for name in _TOOLS}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # run from a folder that was never installed
        return "unknown"
