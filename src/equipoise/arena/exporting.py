"""A run for other programs: JSON to keep and compare, CSV for tables, JUnit XML for CI.

Nothing here depends on when a run was made or on how often it was resumed.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree as ET

import orjson

from equipoise.arena.gate import Decided
from equipoise.arena.result import ArenaResult, CaseResult, Measured, Preference, VariantResult
from equipoise.experiment.variant import thaw
from equipoise.scoring.evaluating import Score
from equipoise.scoring.pairwise import Comparison
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["FORMAT", "csv_text", "estimate_json", "junit_xml", "run_text", "to_dict"]

FORMAT = 1
"""Version of the JSON of a run."""


def to_dict(result: ArenaResult, *, texts: bool = False) -> dict[str, Any]:
    """Plain JSON; what is not known is absent or says why. `texts` adds questions and answers."""
    rule = result.rule
    return {
        "equipoise": "arena",
        "format": FORMAT,
        "experiment": result.experiment,
        "digest": result.digest,
        "decision": result.gate.decision,
        "reason": result.gate.reason,
        "gate": {
            "level": rule.level,
            "must_pass": list(rule.must_pass),
            "at_most": dict(rule.at_most),
            "limits": _known(asdict(rule.limits)),
            "sequential": rule.sequential,
            "arms": {
                arm.variant: _known(
                    {
                        "decision": arm.decision,
                        "reason": arm.reason,
                        "cases_to_settle": arm.cases_to_settle,
                        "criteria": [_criterion(each) for each in arm.criteria],
                    }
                )
                for arm in result.gate.arms
            },
        },
        "cases": {"number": len(result.cases), "digest": result.cases_digest, "file": result.cases_origin},
        "samples": result.samples,
        "answers": result.answers_origin,
        "evaluators": [_known(asdict(each)) for each in result.evaluators],
        "variants": {variant.name: _variant(variant) for variant in result.variants},
        "by_case": [_case(case, texts=texts) for case in result.cases],
        "spent": _known(asdict(result.spent)),
        "remarks": list(result.remarks),
        "seed": result.seed,
    }


def run_text(result: ArenaResult) -> str:
    """The run as it is kept beside its report, texts and all, for comparing it later."""
    return orjson.dumps(to_dict(result, texts=True), option=orjson.OPT_INDENT_2).decode() + "\n"


def estimate_json(found: Estimate | NotEstimable | None) -> dict[str, Any] | None:
    """An estimate as JSON, or the reason why there is none.

    >>> estimate_json(NotEstimable("there are 0 cases"))
    {'not_estimable': 'there are 0 cases'}
    """
    if found is None:
        return None
    return {"not_estimable": found.reason} if isinstance(found, NotEstimable) else _known(asdict(found))


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _criterion(decided: Decided) -> dict[str, Any]:
    criterion = decided.criterion
    return _known(
        {
            "of": criterion.of,
            "show": criterion.show,
            "margin": None if criterion.margin is None else str(criterion.margin),
            "worst": criterion.worst,
            "at_least": criterion.at_least,
            "estimate": estimate_json(decided.estimate),
            "bar": decided.bar,
            "decision": decided.decision,
            "reason": decided.reason,
            "cases_to_settle": decided.cases_to_settle,
        }
    )


def _variant(variant: VariantResult) -> dict[str, Any]:
    return _known(
        {
            "cases": variant.cases,
            "answered": variant.answered,
            "errored": variant.errored,
            "mean_chars": variant.mean_chars,
            "cost_usd": variant.cost_usd,
            "measures": {name: _measured(each) for name, each in variant.measures.items()},
            "preference": _preference(variant.preference),
            "flaky": list(variant.flaky),
            "failing": {reason: list(cases) for reason, cases in variant.failing.items()},
            "settings": _known(
                {
                    "asked": thaw(variant.settings.asked),
                    "models": list(variant.settings.models),
                    "fingerprints": list(variant.settings.fingerprints),
                    "seed_granted": variant.settings.seed_granted,
                }
            ),
        }
    )


def _measured(measured: Measured) -> dict[str, Any]:
    return _known(
        {
            "does": measured.does,
            "scored": measured.scored,
            "unscored": measured.unscored,
            "errored": measured.errored,
            "passed": measured.passed if measured.bar else None,
            "failed": measured.failed if measured.bar else None,
            "must_pass": measured.must_pass or None,
            "mean": estimate_json(measured.mean),
            "difference": estimate_json(measured.difference),
            "by_tag": {tag: estimate_json(each) for tag, each in measured.by_tag.items()} or None,
            "noise": measured.noise,
        }
    )


def _preference(preference: Preference | None) -> dict[str, Any] | None:
    if preference is None:
        return None
    plain: dict[str, Any] = {}
    for name in Preference.__dataclass_fields__:
        value = getattr(preference, name)
        if isinstance(value, Estimate | NotEstimable):
            plain[name] = estimate_json(value)
        elif name == "by_tag":
            plain[name] = {tag: estimate_json(each) for tag, each in value.items()} or None
        else:
            plain[name] = value
    return _known(plain)


def _case(case: CaseResult, *, texts: bool) -> dict[str, Any]:
    plain = _known(
        {
            "id": case.id,
            "cluster": case.cluster,
            "weight": None if case.weight == 1.0 else case.weight,
            "tags": list(case.tags) or None,
            "severity": case.severity,
            "must_pass": case.must_pass or None,
            "passed": _known({name: case.passed(name) for name in case.answers}) or None,
            "scores": {
                name: [{measure: _score(score) for measure, score in each.items()} for each in samples]
                for name, samples in case.scores.items()
            },
            "comparisons": {
                name: [_comparison(each) for each in compared] for name, compared in case.comparisons.items()
            }
            or None,
            "labels": dict(case.labels) or None,
            "errors": {
                name: errors
                for name, answers in case.answers.items()
                if (errors := [answer.why_not for answer in answers if answer.text is None])
            }
            or None,
        }
    )
    if texts:
        plain["asked"] = case.asked
        plain["answers"] = {
            name: [answer.text for answer in answers] for name, answers in case.answers.items()
        }
    return plain


def _score(score: Score) -> dict[str, Any]:
    return _known(
        {
            "value": score.value,
            "passed": score.passed,
            "label": score.label,
            "explanation": score.explanation or None,
            "why_not": score.why_not,
            "errored": score.errored or None,
        }
    )


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return _known(
        {
            "score": comparison.score,
            "why_not": comparison.why_not,
            "errored": comparison.errored or None,
            "treatment_first": comparison.treatment_first,
            "control_first": comparison.control_first,
            "by_judge": {name: each.score for name, each in comparison.by_judge.items()} or None,
            "reasons": list(comparison.reasons) or None,
        }
    )


_HEAD = (
    "case",
    "variant",
    "sample",
    "measure",
    "value",
    "passed",
    "label",
    "explanation",
    "why_not",
    "errored",
)


def csv_text(result: ArenaResult) -> str:
    """Every score, one row for each case, variant, sample and measure; the win rate of treatments among them.

    Text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_HEAD)
    for case in result.cases:
        for name, samples in case.scores.items():
            for number, scores in enumerate(samples, 1):
                for measure, score in scores.items():
                    writer.writerow(
                        [
                            _cell(case.id),
                            _cell(name),
                            number,
                            _cell(measure),
                            _cell(score.value),
                            _cell(score.passed),
                            _cell(score.label),
                            _cell(score.explanation),
                            _cell(score.why_not),
                            _cell(score.errored or None),
                        ]
                    )
        for name, compared in case.comparisons.items():
            for number, each in enumerate(compared, 1):
                reason = each.reasons[0] if each.reasons else None
                writer.writerow(
                    [
                        _cell(case.id),
                        _cell(name),
                        number,
                        "win_rate",
                        _cell(each.score),
                        "",
                        "",
                        _cell(reason),
                        _cell(each.why_not),
                        _cell(each.errored or None),
                    ]
                )
    return stream.getvalue()


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value[:1] in "=+-@\t\r" and value:
        return f"'{value}"
    return value


_CONTROL = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")


def junit_xml(result: ArenaResult) -> str:
    """JUnit XML: a suite for each treatment, a test for each criterion and for each case that may not fail.

    A criterion that failed is a failure, one that is inconclusive or a run that is invalid an error: CI stops
    at both, and tells them apart. Other cases are told in the report, not here: a gate decides on all of
    them together.
    """
    root = ET.Element("testsuites", {"name": _xml(f"{result.experiment} gate")})
    for arm in result.gate.arms:
        suite = ET.SubElement(root, "testsuite", {"name": _xml(f"{result.experiment}: {arm.variant}")})
        tests: list[tuple[str, str, str]] = []
        tests += [(each.criterion.name, each.decision, each.reason) for each in arm.criteria]
        failing = result.variant(arm.variant).failing
        for reason, cases in failing.items():
            tests += [(f"case {case}", "fail", reason) for case in cases]
        tests.append(("gate", arm.decision, arm.reason))
        failures = errors = 0
        for name, decision, reason in tests:
            test = ET.SubElement(
                suite,
                "testcase",
                {"classname": _xml(f"{result.experiment}.{arm.variant}"), "name": _xml(name)},
            )
            if decision == "fail":
                failures += 1
                ET.SubElement(test, "failure", {"message": _xml(reason)}).text = _xml(reason)
            elif decision != "pass":
                errors += 1
                ET.SubElement(test, "error", {"message": _xml(reason), "type": decision}).text = _xml(reason)
            else:
                ET.SubElement(test, "system-out").text = _xml(reason)
        suite.attrib |= {"tests": str(len(tests)), "failures": str(failures), "errors": str(errors)}
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _xml(text: str) -> str:
    return _CONTROL.sub("�", text)
