"""The canonical form of a definition, and the digest that names it.

The canonical form is itself a definition: the same keys, prompt and rubric texts written out,
amounts exact, everything that equals its default left out. So key order, comments, formatting, an
explicit default and a moved prompt file change nothing, and any change of meaning changes the digest.
The digest is SHA-256 over the form serialised by RFC 8785 (JSON Canonicalization Scheme).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from fractions import Fraction
from typing import Any

from equipoise.experiment.amount import Amount, Bound
from equipoise.experiment.audience import Attribute, Condition, Layer
from equipoise.experiment.bandit import Bandit
from equipoise.experiment.definition import Experiment, PlanSettings, Rollout
from equipoise.experiment.metric import Metric, Quantity
from equipoise.experiment.offline import Gate, Judge, Recording
from equipoise.experiment.variant import thaw
from equipoise.experiment.verdict_rule import USUAL

__all__ = ["FORMAT", "canonical", "digest"]

FORMAT = 1
"""Version of the canonical form; it is part of what is hashed."""


def canonical(experiment: Experiment) -> dict[str, Any]:
    """The definition as plain JSON that the reader reads back to the same experiment."""
    form: dict[str, Any] = {
        "name": experiment.name,
        "hypothesis": experiment.hypothesis,
        "unit": _unit(experiment),
        "variants": {variant.name: variant.settings for variant in experiment.variants},
        "allocation": {name: str(share) for name, share in experiment.allocation.items()},
        "metrics": {metric.name: _metric(metric) for metric in experiment.metrics},
    }
    form |= _given(
        {
            "method": (experiment.method, "ab"),
            "bandit": (_bandit(experiment.bandit), None),
            "interleaving": (_section(experiment.interleaving), {}),
            "switchback": (_section(experiment.switchback, durations=("wash_out",)), {}),
            "changes": (list(experiment.changes), []),
            "cluster": (experiment.cluster, None),
            "attributes": (
                {name: _attribute(attribute) for name, attribute in experiment.attributes.items()},
                {},
            ),
            "traffic": (_conditions(experiment.traffic), {}),
            "target": (_conditions(experiment.target), {}),
            "layer": (_layer(experiment.layer), None),
            "holdouts": ({name: str(share) for name, share in experiment.holdouts.items()}, {}),
            "assignment_version": (experiment.assignment_version, 1),
            "plan": (_plan(experiment.plan), {}),
            "segments": (list(experiment.segments), []),
            "critical_segments": (
                [
                    {
                        "where": f"{segment.attribute}={segment.value}",
                        "metric": segment.metric,
                        "margin": _plain(segment.margin),
                    }
                    for segment in experiment.critical_segments
                ],
                [],
            ),
            "offline": (_offline(experiment), None),
            "inline": (thaw(experiment.inline), []),
            "watches": (
                [
                    _section(watch, durations=("window", "every"), renamed={"persist": "for"})
                    for watch in experiment.watches
                ],
                [],
            ),
            "capture": (_section(experiment.capture, durations=("keep",)), {}),
            "online_judge": (_online_judge(experiment), None),
            "rollout": (_rollout(experiment.rollout), {}),
            "pins": (experiment.pins, "none"),
            "prices": ({model: _section(price) for model, price in experiment.prices.items()}, {}),
            "source": (_section(experiment.source), {}),
            "verdict": ([line.to_dict() for line in experiment.verdict], [line.to_dict() for line in USUAL]),
        }
    )
    return form


def digest(form: Mapping[str, Any]) -> str:
    """SHA-256, in hexadecimal, of a canonical form.

    Raises ValueError where a number cannot be told apart from its neighbours in JSON (an integer
    beyond 2**53).
    """
    import rfc8785

    try:
        text = rfc8785.dumps({"equipoise": FORMAT, "definition": dict(form)})
    except rfc8785.CanonicalizationError as error:
        raise ValueError(str(error)) from None
    return hashlib.sha256(text).hexdigest()


def _given(entries: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
    return {key: value for key, (value, default) in entries.items() if value != default}


def _plain(value: Any) -> Any:
    if isinstance(value, Amount):
        return str(value) if value.scale == "relative" else value.value
    if isinstance(value, Bound):
        return _plain(value.amount) if value.reference == "none" else str(value)
    if isinstance(value, Quantity | Fraction):
        return str(value)
    return thaw(value)


def _section(
    value: Any, *, durations: tuple[str, ...] = (), renamed: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A frozen value as a mapping, without the fields that equal their defaults."""
    if value is None:
        return {}
    result: dict[str, Any] = {}
    for entry in fields(value):
        item = getattr(value, entry.name)
        default = entry.default_factory() if callable(entry.default_factory) else entry.default
        if item == default or item is None:
            continue
        key = (renamed or {}).get(entry.name, entry.name)
        # Without an exponent, which a duration does not have: 0.00001s, never 1e-05s.
        result[key] = f"{Decimal(repr(item)):f}s" if entry.name in durations else _plain(item)
    return result


def _plan(settings: PlanSettings) -> dict[str, Any]:
    section = _section(settings, durations=("burn_in", "cycle"))
    if settings.clusters is not None:
        section["clusters"] = _section(settings.clusters)
    parameter = section.pop("spending_parameter", None)
    return section | ({} if parameter is None else {"spending": {settings.spending: parameter}})


def _unit(experiment: Experiment) -> dict[str, Any]:
    unit = experiment.unit
    return {"type": unit.type} | _given(
        {
            "from": (unit.source, None),
            "id": (unit.id, "any"),
            "every": (f"{Decimal(repr(unit.every)):f}s", "3600.0s"),
            "members": (unit.members, None),
        }
    )


def _bandit(bandit: Bandit | None) -> dict[str, Any] | None:
    if bandit is None:
        return None
    apart = {"policy", "leader", "epsilon", "prior", "drop", "stop"}
    section = {
        key: value
        for key, value in _section(bandit, durations=("every", "half_life")).items()
        if key not in apart
    }
    # What was taken from the metric is written out: its meaning is part of the identity.
    section |= {"prior": thaw(bandit.prior)}
    return section | _given(
        {
            "policy": (_policy(bandit), "thompson"),
            "drop": (None if bandit.drop is None else _section(bandit.drop), None),
            "stop": (_section(bandit.stop), {}),
        }
    )


def _policy(bandit: Bandit) -> str | dict[str, str]:
    parameter = {"top_two": bandit.leader, "epsilon_greedy": bandit.epsilon}.get(bandit.policy)
    return bandit.policy if parameter is None else {bandit.policy: str(parameter)}


def _attribute(attribute: Attribute) -> dict[str, Any]:
    source = None if attribute.source is None else str(attribute.source)
    return {"type": attribute.type} | _given({"from": (source, None)})


def _conditions(conditions: tuple[Condition, ...]) -> dict[str, Any]:
    form: dict[str, Any] = {}
    for each in conditions:
        form.setdefault(each.attribute, {})[each.test] = thaw(each.value)
    return form


def _layer(layer: Layer | None) -> str | dict[str, Any] | None:
    if layer is None:
        return None
    if layer == Layer(layer.name):
        return layer.name
    return {"name": layer.name, "range": [str(layer.start), str(layer.end)]}


def _metric(metric: Metric) -> dict[str, Any]:
    # Everything the catalogue filled in is written out: its meaning is part of the identity.
    return {key: value for key, value in _section(metric, durations=("window",)).items() if key != "name"}


def _recording(recording: Recording | None) -> dict[str, Any] | None:
    return None if recording is None else {"file": recording.file} | _section(recording)


def _offline(experiment: Experiment) -> dict[str, Any] | None:
    offline = experiment.offline
    if offline is None:
        return None
    entries: dict[str, tuple[Any, Any]] = {
        "samples": (offline.samples, 1),
        "answers": (
            {"python": offline.application} if offline.application else _recording(offline.answers),
            None,
        ),
        "rubric": (
            {"axes": thaw(offline.rubric.axes), "top": offline.rubric.top}
            | _given({"revision": (offline.rubric.revision, 1)})
            if offline.rubric
            else None,
            None,
        ),
        "judge": (_judge(offline.judge), None),
        "labels": (
            (_recording(offline.labels.recording) or {}) | _given({"at_least": (offline.labels.at_least, 50)})
            if offline.labels
            else None,
            None,
        ),
        # The name it had at first: a digest does not change because a key got a better name.
        "checks": (thaw(offline.evaluators), []),
        "gate": (_gate(offline.gate), {}),
    }
    return {"cases": {"file": offline.cases.file} | _section(offline.cases)} | _given(entries)


def _judge(judge: Judge | None) -> dict[str, Any] | None:
    if judge is None:
        return None
    apart = {"pairwise", "grades", "compares", "panel"}
    return {key: value for key, value in _section(judge).items() if key not in apart} | _given(
        {
            "pairwise": (_recording(judge.pairwise) if judge.compares else False, None),
            "grades": (_recording(judge.grades), None),
            "panel": ([_judge(each) for each in judge.panel], []),
        }
    )


def _gate(gate: Gate) -> dict[str, Any]:
    by_name: dict[str, list[dict[str, Any]]] = {}
    for criterion in gate.criteria:
        usual = "0.1" if criterion.of == "win_rate" else None
        margin = None if criterion.margin is None else str(criterion.margin)
        by_name.setdefault(criterion.of, []).append(
            _given(
                {
                    "margin": (None if margin == usual else _plain(criterion.margin), None),
                    "superior": (criterion.show == "superior", False),
                    "not_worse": (
                        criterion.show == "not_worse"
                        and not (criterion.at_least is not None and criterion.margin is None),
                        False,
                    ),
                    "worst": (criterion.worst, None),
                    "at_least": (criterion.at_least, None),
                }
            )
        )
    named = {name: by_name.pop(name)[0] for name in ("win_rate", "pass_rate") if name in by_name}
    limits = gate.limits
    return _given(
        {
            "win_rate": (named.get("win_rate"), None),
            "pass_rate": (named.get("pass_rate"), None),
            "metrics": (by_name, {}),
            "must_pass": (list(gate.must_pass), []),
            "at_most": (thaw(gate.at_most), {}),
            "limits": (
                _given(
                    {
                        "unscored": (limits.unscored, 0.20),
                        "lean": (limits.lean, None),
                        "kappa": (limits.kappa, None),
                        "self_preference": (limits.self_preference, None),
                    }
                ),
                {},
            ),
            "level": (gate.level, 0.95),
            "sequential": (gate.sequential, False),
        }
    )


def _online_judge(experiment: Experiment) -> dict[str, Any] | None:
    judge = experiment.online_judge
    if judge is None:
        return None
    audit = _given(
        {
            "labels_per_week": (judge.labels_per_week, None),
            "minimum_agreement": (judge.minimum_agreement, None),
            "threshold": (judge.threshold, None),
        }
    )
    return {"sample": str(judge.sample)} | _given(
        {
            "budget_usd_per_day": (judge.budget_usd_per_day, None),
            "audit": (audit, {}),
            "turns_per_minute": (judge.turns_per_minute, None),
            "backlog": (judge.backlog, 10_000),
            "within": (f"{Decimal(repr(judge.within)):f}s", "86400.0s"),
            "by": (judge.by, None),
            "shares": ({value: str(share) for value, share in judge.shares.items()}, {}),
        }
    )


def _rollout(rollout: Rollout) -> dict[str, Any]:
    usual = Rollout()
    return _given(
        {
            "stages": (list(rollout.stages), list(usual.stages)),
            "shadow": (
                _given(
                    {
                        "share": (str(rollout.shadow_share), str(usual.shadow_share)),
                        "budget_usd_per_day": (rollout.shadow_budget_usd_per_day, None),
                        "turns": (rollout.shadow_turns, usual.shadow_turns),
                    }
                ),
                {},
            ),
            "canary": (
                _coverage(rollout.canary_coverage, usual.canary_coverage)
                | _given({"counted": (rollout.canary_counted, False)}),
                {},
            ),
            "ab": (_coverage(rollout.ab_coverage, usual.ab_coverage), {}),
            "skip": (thaw(rollout.skip), {}),
        }
    )


def _coverage(share: Fraction, usual: Fraction) -> dict[str, Any]:
    return {} if share == usual else {"coverage": str(share)}
