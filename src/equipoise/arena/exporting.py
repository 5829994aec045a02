"""A run for other programs: JSON to keep and compare, CSV for tables, JUnit XML for CI.

Nothing here depends on when a run was made or on how often it was resumed.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree as ET

import orjson

from equipoise.arena.gate import ArmDecision, Decided, Decision
from equipoise.arena.result import ArenaResult, CaseResult, Measured, Preference, VariantResult
from equipoise.experiment.variant import thaw
from equipoise.scoring.evaluating import Score, errored
from equipoise.scoring.pairwise import Comparison
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["FORMAT", "csv_text", "estimate_json", "junit_xml", "run_text", "to_dict"]

FORMAT = 1
"""Version of the JSON of a run."""


def to_dict(result: ArenaResult, *, texts: bool = False) -> dict[str, Any]:
    """Plain JSON; what is not known is absent or says why. `texts` adds questions and answers.

    An end of an interval that is infinite is absent, too: JSON has no number for it.
    """
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
        "spent": _known(asdict(result.spent)) | {"unpriced": list(result.spent.unpriced)},
        "remarks": list(result.remarks),
        "seed": result.seed,
    }


def run_text(result: ArenaResult) -> str:
    """The run as it is kept beside its report, texts and all, for comparing it later."""
    plain = to_dict(result, texts=True)
    try:
        return orjson.dumps(plain, option=orjson.OPT_INDENT_2).decode() + "\n"
    except TypeError:  # half a surrogate pair in what a judge wrote; JSON can say it, UTF-8 cannot
        return json.dumps(plain, indent=2) + "\n"


def estimate_json(found: Estimate | NotEstimable | None) -> dict[str, Any] | None:
    """An estimate as JSON, or the reason why there is none.

    >>> estimate_json(NotEstimable("there are 0 cases"))
    {'not_estimable': 'there are 0 cases'}
    """
    if found is None:
        return None
    if isinstance(found, NotEstimable):
        return {"not_estimable": found.reason}
    return {
        name: value
        for name, value in asdict(found).items()
        if value is not None and not (isinstance(value, float) and math.isinf(value))
    }


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
    """Every score, one row for each case, variant, sample and measure.

    Comparisons are the treatments' `win_rate`; an answer that is missing is a row of the measure `answer`. Text
    that a spreadsheet would take for a formula begins with an apostrophe.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_HEAD)
    for case in result.cases:
        for name, number, measure, score in _scores(case):
            writer.writerow(
                [
                    _cell(value)
                    for value in (
                        case.id,
                        name,
                        number,
                        measure,
                        score.value,
                        score.passed,
                        score.label,
                        score.explanation,
                        score.why_not,
                        score.errored or None,
                    )
                ]
            )
    return stream.getvalue()


def _scores(case: CaseResult) -> Iterator[tuple[str, int, str, Score]]:
    """Variant, number of the sample, measure and score of everything that was said of a case."""
    for name, answers in case.answers.items():
        for number, answer in enumerate(answers, 1):
            if answer.text is None:
                yield name, number, "answer", errored(answer.why_not or "no reason is known")
    for name, samples in case.scores.items():
        for number, scores in enumerate(samples, 1):
            for measure, score in scores.items():
                yield name, number, measure, score
    for name, compared in case.comparisons.items():
        for number, each in enumerate(compared, 1):
            why_not = each.why_not or "no reason is known" if each.score is None else None
            reason = each.reasons[0] if each.reasons else ""
            yield (
                name,
                number,
                "win_rate",
                Score(value=each.score, why_not=why_not, explanation=reason, errored=each.errored),
            )


_FORMULA = tuple("=+-@\t\r\n＝＋－＠")


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return value
    plain = _UNWRITABLE.sub("\ufffd", value)
    return f"'{plain}" if plain.lstrip(" ").startswith(_FORMULA) else plain


_UNWRITABLE = re.compile(r"[^\t\n\r\x20-\x7E\x85\xA0-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")


def junit_xml(result: ArenaResult) -> str:
    """JUnit XML: a suite for each treatment, in it a test for each criterion, each case that may not fail, the gate.

    What failed is a failure; what is inconclusive, and an invalid run, is an error: CI stops at both, and tells them
    apart. A case has its test if it must pass, or if it failed where it may not. Other cases are told in the
    report, not here: a gate decides on all of them together.
    """
    suites = [(arm.variant, _tests(result, arm)) for arm in result.gate.arms]
    root = ET.Element("testsuites", {"name": _xml(f"{result.experiment} gate")} | _counts(suites))
    for variant, tests in suites:
        named = {"name": _xml(f"{result.experiment}: {variant}")}
        suite = ET.SubElement(root, "testsuite", named | _counts([(variant, tests)]))
        for name, decision, reason in tests:
            about = {"classname": _xml(f"{result.experiment}.{variant}"), "name": _xml(name)}
            test = ET.SubElement(suite, "testcase", about)
            told = {"message": _xml(reason), "type": decision}
            if decision == "pass":
                if reason:
                    ET.SubElement(test, "system-out").text = _xml(reason)
            else:
                kind = "failure" if decision == "fail" else "error"
                ET.SubElement(test, kind, told).text = _xml(reason)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


Tested = tuple[str, Decision, str]
"""The name of a test, how it went, and why."""


def _tests(result: ArenaResult, arm: ArmDecision) -> list[Tested]:
    failing: dict[str, list[str]] = {}
    for reason, cases in result.variant(arm.variant).failing.items():
        for case in cases:
            failing.setdefault(case, []).append(reason)
    tests: list[Tested] = [(each.criterion.name, each.decision, each.reason) for each in arm.criteria]
    for one in result.cases:
        if one.id in failing:
            tests.append((f"case {one.id}", "fail", "; ".join(failing[one.id])))
        elif one.must_pass:
            known = one.passed(arm.variant) is not None
            tests.append(
                (f"case {one.id}", "pass", "") if known else (f"case {one.id}", "inconclusive", _UNKNOWN)
            )
    return [*tests, ("gate", arm.decision, arm.reason)]


_UNKNOWN = "no check that must hold on it could be scored"


def _counts(suites: Sequence[tuple[str, Sequence[Tested]]]) -> dict[str, str]:
    went = [decision for _, tests in suites for _, decision, _ in tests]
    failures, passed = went.count("fail"), went.count("pass")
    return {
        "tests": str(len(went)),
        "failures": str(failures),
        "errors": str(len(went) - failures - passed),
    }


def _xml(text: str) -> str:
    return _UNWRITABLE.sub("\ufffd", text)
