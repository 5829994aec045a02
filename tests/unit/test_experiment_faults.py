"""Every fault of a definition: its place, what would be accepted, the nearest name, and all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from equipoise.errors import DefinitionError, Fault
from equipoise.experiment.reading import read_definition

BASE = """\
name: demo
hypothesis: A newer model resolves more.
unit: user
changes: [model]
variants:
  control: {model: a}
  treatment: {model: b}
metrics:
  resolution_rate: {priority: primary}
"""

FAULTS: dict[str, tuple[str | list[tuple[str, str]], list[str]]] = {
    "unknown key": ("varaints: {}", [
        "10: varaints: unknown key 'varaints'; accepted: allocation, assignment_version, attributes, bandit, capture, changes, cluster, critical_segments, holdouts, hypothesis, inline, interleaving, layer, method, metrics, name, offline, online_judge, pins, plan, prices, rollout, segments, source, switchback, target, traffic, unit, variants, verdict, watches; did you mean 'variants'?",
    ]),
    "a comma that cuts a text": ("layer: {name: bots, range: [0, 0.5], be kind}", [
        "10: layer.be kind: unknown key 'be kind'; accepted: name, range; a text with a comma inside {…} stands in quotes",
    ]),
    "unknown key in a section": ("plan: {alhpa: 0.05}", [
        "10: plan.alhpa: unknown key 'alhpa'; accepted: alpha, boundaries, burn_in, clusters, crossed, cycle, looks, power, spending, units_per_day, whole_cycles; did you mean 'alpha'?",
    ]),
    "unknown key in a list": ("watches: [{metric: resolution_rate, max: 1, window: 5m, wait: 2}]", [
        "10: watches[0].wait: unknown key 'wait'; accepted: at_least, every, for, max, metric, min, scope, then, window",
    ]),
    "texts that cannot be kept so": ("capture: {text: all, share: 10%, redact: [emial, nothing], keep: 0s}", [
        "10: capture.keep: texts are kept for a while, and not for ever; accepted: more than 0, at most 3650d",
        "10: capture.redact: text is either kept as it was or redacted; accepted: [nothing], or a list without it",
        "10: capture.redact[0]: nothing called 'emial' is known that could be redacted; accepted: card, email, iban, ip, nothing, phone, pii, secrets, ssn; did you mean 'email'?",
        "10: capture.share: a share belongs to a sample, and `text` is all; set `text: sampled`, or leave the share out",
    ]),
    "a sample of texts that is too small": ("capture: {text: sampled, share: 1%}\nonline_judge: {sample: 5%}", [
        "10: capture.share: the online judge reads 1/20 of the turns and only 1/100 are kept; accepted: at least the judge's sample",
    ]),
    "strata of nothing": ("online_judge: {sample: 5%, shares: {mobile: 0}}", [
        "10: online_judge: `by` and `shares` belong together, and this has shares of what; accepted: {by: device, shares: {mobile: 20%}}",
    ]),
    "strata that cannot be drawn": ("capture: {text: all}\nattributes: {device: {type: text}}\nonline_judge: {sample: 5%, by: devise, shares: {mobile: 0}}", [
        "12: online_judge.by: 'devise' is not among the attributes; accepted: device; did you mean 'device'?",
        "12: online_judge.by: where the judge reads more of some than of others, its shares say which texts are kept; set `capture: {text: sampled}`, and leave `capture.share` out",
        "12: online_judge.shares.mobile: a stratum of which nothing is read tells nothing; accepted: more than 0",
    ]),
    "a sample of no text": ("capture: {text: sampled, share: 0}", [
        "10: capture.share: a sample of nothing keeps nothing; accepted: more than 0",
    ]),
    "missing keys": ([("name: demo\n", ""), ("hypothesis: A newer model resolves more.\n", ""), ("unit: user\n", "")], [
        "1: hypothesis: the key 'hypothesis' is missing; write in one sentence what you expect and why",
        "1: name: the key 'name' is missing",
        "1: unit: the key 'unit' is missing; say what is randomised: request, session, conversation, user, cluster or slot",
    ]),
    "missing variants": ([("variants:\n  control: {model: a}\n  treatment: {model: b}\n", "")], [
        "1: variants: the key 'variants' is missing; list control and at least one treatment",
    ]),
    "missing metrics": ([("metrics:\n  resolution_rate: {priority: primary}\n", "")], [
        "1: metrics: the key 'metrics' is missing; name at least the primary metric",
    ]),
    "missing key in a section": ("rollout: {ab: {}}", [
        "10: rollout.ab.coverage: the key 'coverage' is missing",
    ]),
    "missing keys in a list": ("watches: [{metric: resolution_rate, max: 1}, {max: 1, window: 5m}]", [
        "10: watches[0].window: the key 'window' is missing",
        "10: watches[1].metric: the key 'metric' is missing",
    ]),
    "a word that is not a choice": ("method: bandits", [
        "10: method: 'bandits' is not one of the values this takes; accepted: ab, bandit, interleaving, switchback; did you mean 'bandit'?",
    ]),
    "unit type": ([("unit: user", "unit: {type: usr}")], [
        "3: unit.type: 'usr' is not one of the values this takes; accepted: request, session, conversation, user, cluster, slot; did you mean 'user'?",
    ]),
    "unit as a number": ([("unit: user", "unit: 5")], [
        "3: unit: 5: a mapping of keys to values is expected here",
    ]),
    "a name with a space": ([("name: demo", "name: my demo")], [
        "1: name: 'my demo' is not a name; accepted: letters, digits, '.', '_' and '-', starting with a letter or digit",
    ]),
    "a long name": ([("name: demo", "name: " + "n" * 101)], [
        "1: name: 'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn…': a name has at most 100 characters",
    ]),
    "an empty sentence": ([("hypothesis: A newer model resolves more.", 'hypothesis: "  "')], [
        "2: hypothesis: '  ': this must not be empty",
    ]),
    "text where a number belongs": ("plan: {alpha: small, power: '0.8', units_per_day: many}", [
        "10: plan.alpha: 'small': a number is expected here",
        "10: plan.power: '0.8': a number is expected here",
        "10: plan.units_per_day: 'many': a number is expected here",
    ]),
    "a number where text belongs": ("cluster: 5\nlayer: 1.5", [
        "10: cluster: 5: text is expected here",
        "11: layer: 1.5: a mapping of keys to values is expected here",
    ]),
    "a boolean where a number belongs": ("assignment_version: true", [
        "10: assignment_version: true: a whole number is expected here",
    ]),
    "a fraction where a whole number belongs": ("assignment_version: 1.5", [
        "10: assignment_version: 1.5: a whole number is expected here",
    ]),
    "out of range": ("assignment_version: 0\nplan: {alpha: 0, power: 1, looks: [0, 1.5]}\nonline_judge: {sample: 0.1, audit: {minimum_agreement: -1}}", [
        "10: assignment_version: 0 is out of range; accepted: at least 1",
        "11: plan.alpha: 0 is out of range; accepted: more than 0",
        "11: plan.looks[0]: 0 is out of range; accepted: more than 0",
        "11: plan.looks[1]: 1.5 is out of range; accepted: at most 1",
        "11: plan.power: 1 is out of range; accepted: less than 1",
        "12: online_judge.audit.minimum_agreement: -1 is out of range; accepted: at least 0",
    ]),
    "not a list": ("segments: device\nchanges: model", [
        "10: segments: 'device': a list is expected here",
        "11: changes: the key 'changes' stands twice; keep one of them",
    ]),
    "not a mapping": ("plan: [0.05]\ncapture: all", [
        "10: plan: a list: a mapping of keys to values is expected here",
        "11: capture: 'all': a mapping of keys to values is expected here",
    ]),
    "not a share": ("rollout: {shadow: {share: 5pp}, canary: {coverage: 2}}", [
        "10: rollout.canary.coverage: 2 cannot be read here; accepted: a share from 0 to 1: '1/2', 0.05 or '5%'",
        "10: rollout.shadow.share: '5pp' cannot be read here; accepted: a share from 0 to 1: '1/2', 0.05 or '5%'",
    ]),
    "not an amount": ("critical_segments: [{where: tier=x, metric: resolution_rate, margin: little}]\nsegments: [tier]", [
        "10: critical_segments[0].margin: 'little' cannot be read here; accepted: a number, '10%' (relative) or '1pp' (percentage points)",
    ]),
    "not a bound": ("watches: [{metric: resolution_rate, max: control 20%, window: 5m}]", [
        "10: watches[0].max: 'control 20%' cannot be read here; accepted: a number, '2pp', 'control+20%', 'control+1pp' or 'baseline+5%'",
    ]),
    "a bound relative to nothing": ("watches: [{metric: resolution_rate, max: 2.5 %, window: 5m}]", [
        "10: watches[0].max: '2.5 %' cannot be read here; accepted: a number, '2pp', 'control+20%', 'control+1pp' or 'baseline+5%'; '%' is relative, and it is not said to what: for that share itself write 2.5pp",
    ]),
    "not a duration": ("plan: {burn_in: 1 day, cycle: 7}", [
        "10: plan.burn_in: '1 day' cannot be read here; accepted: a duration such as '30s', '5m', '2h', '1d' or '1w'",
        "10: plan.cycle: 7 cannot be read here; accepted: a duration such as '30s', '5m', '2h', '1d' or '1w'",
    ]),
    "what a metric cannot have": ([("{priority: primary}", "{priority: primary, window: 0d, winsorise: 0.9}\n  latency_p95: {covariates: [age]}")], [
        "9: metrics.resolution_rate.window: a window of no length holds no value; accepted: a duration above 0, such as 7d",
        "9: metrics.resolution_rate.winsorise: only values that are added up can be winsorised, and this is a proportion",
        "10: metrics.latency_p95.covariates: a quantile cannot be adjusted by covariates",
    ]),
    "a time to an event without what it needs": ([("{priority: primary}", "{priority: primary}\n  wait: {kind: time_to_event, of: outcome.resolved, better: lower, per_unit: last, q: 0.5, covariates: [age], winsorise: 0.9}")], [
        "10: metrics.wait.covariates: a time_to_event cannot be adjusted by covariates",
        "10: metrics.wait.per_unit: a time_to_event ends with the first event, not the last; accepted: first",
        "10: metrics.wait.q: `q` belongs to quantiles, and this is a time_to_event",
        "10: metrics.wait.window: a time_to_event needs the window within which the event is waited for; accepted: a duration such as 1d",
        "10: metrics.wait.winsorise: only values that are added up can be winsorised, and this is a time_to_event",
    ]),
    "times beyond the window": ([("{priority: primary}", "{priority: primary}\n  wait: {kind: time_to_event, of: outcome.resolved, better: lower, window: 1h, baseline: 3600, limit: 86400}")], [
        "10: metrics.wait.baseline: 3600 is no mean time within the window; accepted: seconds, more than 0 and less than 3600",
        "10: metrics.wait.limit: 86400 is no mean time within the window; accepted: seconds, more than 0 and less than 3600",
    ]),
    "not a way to handle crossed units": ("plan: {crossed: drop}", [
        "10: plan.crossed: 'drop' is not one of the values this takes; accepted: first_seen, exclude",
    ]),
    "not a quantity": ([("{priority: primary}", "{priority: primary, of: clicks.all}")], [
        "9: metrics.resolution_rate.of: 'clicks.all' cannot be read here; accepted: outcome.NAME, turn.NAME, score.NAME or conversation.returned",
    ]),
    "not a condition": ("segments: [tier]\ncritical_segments: [{where: tier, metric: resolution_rate, margin: 1pp}]", [
        "11: critical_segments[0].where: 'tier' is not a condition; accepted: ATTRIBUTE=VALUE, such as tier=enterprise",
    ]),
    "too few variants": ([("  treatment: {model: b}\n", "")], [
        "5: variants: too few: 1; accepted: at least 2; list control and at least one treatment",
    ]),
    "no looks": ("plan: {looks: []}", [
        "10: plan.looks: too few: 0; accepted: at least 1",
    ]),
    "too many looks": ("plan: {looks: [" + ", ".join(["1"] * 101) + "]}", [
        "10: plan.looks: too many: 101; accepted: at most 100",
    ]),
    "an inline check that is none": ("inline: [pii, toxic, {json_schema: 5}]", [
        "10: inline[1]: 'toxic' is not an inline check; accepted: pii, toxicity, length, empty, or {json_schema: FILE}",
        "10: inline[2]: a mapping is not an inline check; accepted: pii, toxicity, length, empty, or {json_schema: FILE}",
    ]),
    "no control": ([("control:", "kontrol:")], [
        "5: variants: no variant is called control; accepted: exactly one variant named control, and one or more treatments; rename 'kontrol'?",
    ]),
    "a share for nobody": ("allocation: {control: 1/2, treatmnet: 1/2}", [
        "10: allocation: no share for treatment; give every variant a share",
        "10: allocation.treatmnet: there is no variant 'treatmnet'; accepted: control, treatment; did you mean 'treatment'?",
    ]),
    "a share of nothing": ("allocation: {control: 1, treatment: 0}", [
        "10: allocation.treatment: a share of 0 gives this variant no unit; accepted: more than 0",
    ]),
    "shares that miss one by a little": ("allocation: {control: 0.33, treatment: 0.66}", [
        "10: allocation: the shares add up to 99/100 (0.99); accepted: shares that add up to exactly 1; write thirds as 1/3",
    ]),
    "shares that are far from one": ("allocation: {control: 0.5, treatment: 0.1}", [
        "10: allocation: the shares add up to 3/5 (0.6); accepted: shares that add up to exactly 1",
    ]),
    "a change of nothing": ([("changes: [model]", "changes: [model, sytem]")], [
        "4: changes[1]: 'sytem' is not a part of a variant; accepted: model, system, template, params, retrieval, endpoint, serving, config, or a path below one such as params.temperature; did you mean 'system'?",
    ]),
    "an undeclared change": ([("treatment: {model: b}", "treatment: {model: b, params: {temperature: 0.9}}")], [
        "7: variants.treatment.params.temperature: 'treatment' differs from control in params.temperature, which `changes:` does not declare; accepted: differences in model; add params to `changes:`, or make the variants agree",
    ]),
    "no declared change": ([("changes: [model]\n", "")], [
        "6: variants.treatment.model: 'treatment' differs from control in model, which `changes:` does not declare; accepted: differences in nothing; add model to `changes:`, or make the variants agree",
    ]),
    "no primary": ([("priority: primary", "priority: secondary")], [
        "8: metrics: no metric is primary; accepted: exactly one metric with `priority: primary`",
    ]),
    "two primaries": ([("  resolution_rate: {priority: primary}", "  resolution_rate: {priority: primary}\n  csat_score: {priority: primary}")], [
        "10: metrics.csat_score.priority: 'resolution_rate' is already primary; accepted: exactly one metric with `priority: primary`; make this one secondary or a guardrail",
    ]),
    "a built-in metric bent": ([("{priority: primary}", "{priority: primary, kind: mean, of: outcome.done, better: lower, per_unit: any}")], [
        "9: metrics.resolution_rate.better: 'resolution_rate' is a built-in metric whose better is higher, not lower; accepted: higher; give a metric of your own another name",
        "9: metrics.resolution_rate.kind: 'resolution_rate' is a built-in metric whose kind is proportion, not mean; accepted: proportion; give a metric of your own another name",
        "9: metrics.resolution_rate.of: 'resolution_rate' is a built-in metric whose of is outcome.resolved, not outcome.done; accepted: outcome.resolved; give a metric of your own another name",
        "9: metrics.resolution_rate.per_unit: 'resolution_rate' is a built-in metric whose per_unit is last, not any; accepted: last; give a metric of your own another name",
    ]),
    "a metric of one's own without its meaning": ([("resolution_rate:", "resolution_rat:")], [
        "9: metrics.resolution_rat.better: 'resolution_rat' is not a built-in metric, so it must say its better; accepted: higher or lower; did you mean 'resolution_rate'?",
        "9: metrics.resolution_rat.kind: 'resolution_rat' is not a built-in metric, so it must say its kind; accepted: proportion, mean, ratio, count, quantile or time_to_event; did you mean 'resolution_rate'?",
        "9: metrics.resolution_rat.of: 'resolution_rat' is not a built-in metric, so it must say its of; accepted: outcome.NAME, turn.NAME, score.NAME or conversation.returned; did you mean 'resolution_rate'?",
    ]),
    "a ratio of nothing, a quantile of nothing": ([("  resolution_rate: {priority: primary}", "  resolution_rate: {priority: primary}\n  r: {kind: ratio, of: turn.a, better: lower}\n  q: {kind: quantile, of: turn.a, better: lower}")], [
        "10: metrics.r.per: a ratio needs what it is taken per; accepted: per: outcome.NAME or turn.NAME",
        "11: metrics.q.q: a quantile needs its q; accepted: a number between 0 and 1, such as q: 0.95",
    ]),
    "per and q where they mean nothing": ([("  resolution_rate: {priority: primary}", "  resolution_rate: {priority: primary}\n  m: {kind: mean, of: turn.a, better: lower, per: turn.b, q: 0.5}")], [
        "10: metrics.m.per: `per` belongs to ratios, and this is a mean",
        "10: metrics.m.q: `q` belongs to quantiles, and this is a mean",
    ]),
    "a guardrail without a margin": ([("  resolution_rate: {priority: primary}", "  resolution_rate: {priority: primary}\n  error_rate: {priority: guardrail}")], [
        "10: metrics.error_rate.margin: a guardrail needs the margin by which it may get worse; accepted: a number in the metric's unit, '10%' or '1pp'",
    ]),
    "a margin and an effect that are none": ([("{priority: primary}", "{priority: primary, mde: 0, margin: -1pp}")], [
        "9: metrics.resolution_rate.margin: a margin is how much worse is still acceptable; accepted: more than 0",
        "9: metrics.resolution_rate.mde: the effect to detect must not be zero or negative; accepted: more than 0",
    ]),
    "a rate that is none": ([("{priority: primary}", "{priority: primary, baseline: 60}")], [
        "9: metrics.resolution_rate.baseline: 60 is not a rate; accepted: a number between 0 and 1",
    ]),
    "an effect beyond all rates": ([("{priority: primary}", "{priority: primary, baseline: 0.98, mde: 0.05}")], [
        "9: metrics.resolution_rate.mde: from 0.98 this effect leads to 1.03, which is no rate",
    ]),
    "looks that shrink": ("plan: {looks: [0.5, 0.5, 1]}", [
        "10: plan.looks: looks must grow; accepted: increasing fractions of the information",
    ]),
    "looks that stop early": ("plan: {looks: [0.5, 0.9]}", [
        "10: plan.looks: the last look is at 0.9; accepted: a last look at 1.0",
    ]),
    "a watch judged neither in whole minutes nor in a whole part of its window": ((
        "watches:\n"
        "  - {metric: resolution_rate, min: 0.1, window: 5m, every: 2m}\n"
        "  - {metric: resolution_rate, min: 0.1, window: 2h, every: 90s}\n"
        "  - {metric: resolution_rate, min: 0.1, window: 5m, every: 10m}\n"
        "  - {metric: resolution_rate, min: 0.1, window: 7d, every: 1m}\n"
        "  - {metric: resolution_rate, min: 0.1, window: 90s, every: 1m}\n"
        "  - {metric: resolution_rate, min: 0.1, window: 0m, every: 0m}\n"
        "  - {metric: resolution_rate, min: 0.1, window: 1h, every: 1m}"
    ), [
        "11: watches[0].every: a window of 300 s cannot be judged every 120 s: it is put together of whole minutes, each of them in equally many windows and in 60 at most; accepted: 1m, 5m",
        "12: watches[1].every: a window of 7200 s cannot be judged every 90 s: it is put together of whole minutes, each of them in equally many windows and in 60 at most; accepted: 2m, 3m, 4m, 5m, 6m, 8m, …",
        "13: watches[2].every: a window of 300 s cannot be judged every 600 s: it is put together of whole minutes, each of them in equally many windows and in 60 at most; accepted: 1m, 5m",
        "14: watches[3].every: a window of 604800 s cannot be judged every 60 s: it is put together of whole minutes, each of them in equally many windows and in 60 at most; accepted: 168m, 180m, 210m, 224m, 240m, 252m, …",
        "15: watches[4].every: a window of 90 s cannot be judged every 60 s: it is put together of whole minutes, each of them in equally many windows and in 60 at most; accepted: a window of whole minutes first",
        "16: watches[5].every: a window of 0 s cannot be judged every 0 s: it is put together of whole minutes, each of them in equally many windows and in 60 at most; accepted: a window of whole minutes first",
    ]),
    "rows that nobody waits for": ("watches: [{metric: resolution_rate, min: 0.1, window: 5m, for: 1000000000}]", [
        "10: watches[0].for: 1000000000 is out of range; accepted: at most 10000",
    ]),
    "a scope of what is no rollback": ("watches: [{metric: resolution_rate, min: 0.1, window: 5m, then: pause, scope: new_conversations}]", [
        "10: watches[0].scope: a scope is that of a rollback, and this watch says pause; accepted: `scope: new_conversations` beside `then: rollback`",
    ]),
    "a watch of nothing with two limits": ("watches: [{metric: resolution_rat, max: 1, min: 0, window: 5m}]", [
        "10: watches[0]: a watch has one limit; accepted: either max or min",
        "10: watches[0].metric: there is no metric 'resolution_rat'; accepted: resolution_rate; did you mean 'resolution_rate'?",
    ]),
    "a segment that is not listed": ("segments: [tier]\ncritical_segments: [{where: teir=x, metric: resolution, margin: 1pp}]", [
        "11: critical_segments[0].metric: there is no metric 'resolution'; accepted: resolution_rate; did you mean 'resolution_rate'?",
        "11: critical_segments[0].where: 'teir' is not among the segments; accepted: tier; did you mean 'tier'?",
    ]),
    "a skip without a reason": ('rollout: {skip: {shadow: " "}}', [
        "10: rollout.skip.shadow: skipping a stage needs a reason; accepted: a sentence",
    ]),
    "a skip of no stage": ("rollout: {skip: {shadwo: why}}", [
        "10: rollout.skip.shadwo: 'shadwo' is not one of the values this takes; accepted: shadow, canary, ab; did you mean 'shadow'?",
    ]),
    "a source without its columns": ("segments: [tier]\nsource: {table: t.csv, unit: u, variant: v, columns: {outcome.resolvd: r}}", [
        "11: source.columns: 'resolution_rate' is made of outcome.resolved, and no column is named for it; accepted: outcome.resolved: COLUMN; did you mean 'outcome.resolvd'?",
        "11: source.columns: no column is named for the segment 'tier'; accepted: tier: COLUMN",
    ]),
    "a judge that is none": ("offline: {cases: c.jsonl, judge: {}}", [
        "10: offline.judge: a judge is a model to ask, several of them, or verdicts recorded earlier; accepted: model, panel, pairwise or grades",
    ]),
    "grades without a rubric": ("offline: {cases: c.jsonl, judge: {grades: {file: g.csv}}}", [
        "10: offline.judge: grades are read by the axes of a rubric; add `rubric:` to offline",
    ]),
    "a prompt of neither kind": ([("{model: a}", "{model: a, system: {}}")], [
        "6: variants.control.system: a prompt has either text or a file; accepted: a text, or {file: PATH}",
    ]),
    "a prompt of both kinds": ([("{model: a}", "{model: a, system: {text: t, file: f}}")], [
        "6: variants.control.system: a prompt has either text or a file; accepted: a text, or {file: PATH}",
    ]),
    "a rubric of neither kind": ("offline: {cases: c.jsonl, rubric: {top: 5}}", [
        "10: offline.rubric: a rubric has either axes or a file; accepted: {axes: …} or a path",
    ]),
    "a scale beside a rubric file": ("offline: {cases: c.jsonl, rubric: {file: good.yaml, top: 3}}", [
        "10: offline.rubric.top: the scale of a rubric in a file is written in that file",
    ]),
}  # fmt: skip


def faults(folder: Path, text: str) -> list[Fault]:
    """All faults of a definition with this text; none where it reads."""
    path = folder / "e.yaml"
    path.write_text(text, "utf-8")
    try:
        read_definition(path)
    except DefinitionError as error:
        return list(error.faults)
    return []


def spoken(folder: Path, text: str) -> list[str]:
    """Faults as sentences, without the name of the file."""
    found = faults(folder, text)
    assert all(fault.file == str(folder / "e.yaml") for fault in found)
    return [str(fault).removeprefix(str(folder / "e.yaml") + ":") for fault in found]


def edited(edit: str | list[tuple[str, str]]) -> str:
    if isinstance(edit, str):
        return BASE + edit + "\n"
    text = BASE
    for old, new in edit:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_says_where_what_and_the_way_out(name: str, tmp_path: Path) -> None:
    """Each sentence is whole: line, field, what is wrong, what is accepted, what to do; and there is no other."""
    edit, said = FAULTS[name]
    (tmp_path / "good.yaml").write_text("axes: {clarity: How clear is it}\n", "utf-8")
    assert spoken(tmp_path, edited(edit)) == said


def test_the_base_of_these_tests_is_right(tmp_path: Path) -> None:
    """What the tests above break reads without a fault."""
    assert faults(tmp_path, BASE) == []


def test_one_reading_reports_faults_of_every_section(tmp_path: Path) -> None:
    """Form, files, names and sums are checked in one go, and stand in the order of the file."""
    text = """\
name: my demo
hypothesis: ""
unit: {type: usr}
changes: [model, sytem]
variants:
  control: {modell: a, system: {file: absent.md}}
  treatment: {model: b}
allocation: {control: 0.6, treatment: 0.6}
metrics:
  resolution_rate: {priority: primary, kind: mean}
  error_rate: {priority: guardrail}
plan: {alpha: 5%}
segments: [tier]
critical_segments: [{where: team=x, metric: resolution_rate, margin: 1pp}]
watches:
  - {metric: latency, max: 1, window: 5m}
  - {metric: error_rate, max: control+lots, window: 5m}
  - {metric: error_rat, max: 1, window: 5m}
capture: {text: some}
"""
    assert spoken(tmp_path, text) == [
        "1: name: 'my demo' is not a name; accepted: letters, digits, '.', '_' and '-', starting with a letter or digit",
        "2: hypothesis: '': this must not be empty",
        (
            "3: unit.type: 'usr' is not one of the values this takes; "
            "accepted: request, session, conversation, user, cluster, slot; did you mean 'user'?"
        ),
        (
            "4: changes[1]: 'sytem' is not a part of a variant; accepted: model, system, template, params, retrieval, endpoint, "
            "serving, config, or a path below one such as params.temperature; did you mean 'system'?"
        ),
        (
            "6: variants.control.modell: unknown key 'modell'; "
            "accepted: config, endpoint, model, params, retrieval, serving, system, template; did you mean 'model'?"
        ),
        f"6: variants.control.system: the prompt file {tmp_path / 'absent.md'} does not exist",
        (
            "7: variants.treatment.system: 'treatment' differs from control in system, which `changes:` does not declare; "
            "accepted: differences in model, sytem; add system to `changes:`, or make the variants agree"
        ),
        "8: allocation: the shares add up to 6/5 (1.2); accepted: shares that add up to exactly 1",
        (
            "10: metrics.resolution_rate.kind: 'resolution_rate' is a built-in metric whose kind is proportion, not mean; "
            "accepted: proportion; give a metric of your own another name"
        ),
        (
            "11: metrics.error_rate.margin: a guardrail needs the margin by which it may get worse; "
            "accepted: a number in the metric's unit, '10%' or '1pp'"
        ),
        "12: plan.alpha: '5%': a number is expected here",
        "14: critical_segments[0].where: 'team' is not among the segments; accepted: tier",
        "16: watches[0].metric: there is no metric 'latency'; accepted: resolution_rate, error_rate",
        (
            "17: watches[1].max: 'control+lots' cannot be read here; "
            "accepted: a number, '2pp', 'control+20%', 'control+1pp' or 'baseline+5%'"
        ),
        (
            "18: watches[2].metric: there is no metric 'error_rat'; "
            "accepted: resolution_rate, error_rate; did you mean 'error_rate'?"
        ),
        "19: capture.text: 'some' is not one of the values this takes; accepted: none, sampled, all",
    ]


def test_a_wrong_item_does_not_move_the_items_after_it(tmp_path: Path) -> None:
    """What follows a wrong item of a list is reported at its own place and line."""
    text = BASE + (
        "watches:\n"
        "  - 5\n"
        "  - {metric: resolution_rate, max: 1, window: 5m}\n"
        "  - {metric: resolution_rate, windo: 5m}\n"
        "  - {metric: unheard_of, max: 1, window: 5m}\n"
    )
    assert spoken(tmp_path, text) == [
        "11: watches[0]: 5: a mapping of keys to values is expected here",
        (
            "13: watches[2].windo: unknown key 'windo'; "
            "accepted: at_least, every, for, max, metric, min, scope, then, window; did you mean 'window'?"
        ),
        "13: watches[2].window: the key 'window' is missing",
        "14: watches[3].metric: there is no metric 'unheard_of'; accepted: resolution_rate",
    ]


@pytest.mark.parametrize(
    "edit, said",
    [
        ([("treatment:", "bad name:")],
         ["7: variants.bad name: 'bad name' is not a name; accepted: letters, digits, '.', '_' and '-', starting with a letter or digit"]),
        ([("treatment: {model: b}", "treatment: b")], ["7: variants.treatment: 'b': a mapping of keys to values is expected here"]),
        ([("  resolution_rate: {priority: primary}", "  resolution_rate: primary")],
         ["9: metrics.resolution_rate: 'primary': a mapping of keys to values is expected here"]),
        ("critical_segments: [{where: x, metric: 5, margin: little}]",
         ["10: critical_segments[0].margin: 'little' cannot be read here; accepted: a number, '10%' (relative) or '1pp' (percentage points)",
          "10: critical_segments[0].metric: 5: text is expected here",
          "10: critical_segments[0].where: 'x' is not a condition; accepted: ATTRIBUTE=VALUE, such as tier=enterprise"]),
        ("plan: {looks: [0, 0]}",
         ["10: plan.looks[0]: 0 is out of range; accepted: more than 0", "10: plan.looks[1]: 0 is out of range; accepted: more than 0"]),
    ],
)  # fmt: skip
def test_a_fault_is_reported_once(edit: str | list[tuple[str, str]], said: list[str], tmp_path: Path) -> None:
    """What is wrong only because something faulty was set aside is not a fault of its own."""
    assert spoken(tmp_path, edited(edit)) == said


def test_faults_beside_a_missing_section_are_found(tmp_path: Path) -> None:
    """Without variants or metrics everything else is still checked, and nothing is blamed on what is missing."""
    text = "name: demo\nunit: user\nhypothesis: h\nplan: {looks: [0.5]}\nallocation: {a: 1/2, b: 1/2}\nwatches: [{metric: m, max: 1, window: 5}]\n"
    assert spoken(tmp_path, text) == [
        "1: metrics: the key 'metrics' is missing; name at least the primary metric",
        "1: variants: the key 'variants' is missing; list control and at least one treatment",
        "4: plan.looks: the last look is at 0.5; accepted: a last look at 1.0",
        "6: watches[0].window: 5 cannot be read here; accepted: a duration such as '30s', '5m', '2h', '1d' or '1w'",
    ]


def test_the_whole_message_counts_its_faults(tmp_path: Path) -> None:
    """One fault is one sentence; several stand under a heading; JSON holds the parts of each."""
    path = tmp_path / "e.yaml"
    path.write_text(BASE + "pins: loose\n", "utf-8")
    with pytest.raises(DefinitionError) as one:
        read_definition(path)
    assert str(one.value) == (
        f"{path}:10: pins: 'loose' is not one of the values this takes; accepted: none, required"
    )
    path.write_text(BASE + "pins: loose\nmethod: abc\n", "utf-8")
    with pytest.raises(DefinitionError) as two:
        read_definition(path)
    assert str(two.value) == (
        "2 faults in the definition:\n"
        f"{path}:10: pins: 'loose' is not one of the values this takes; accepted: none, required\n"
        f"{path}:11: method: 'abc' is not one of the values this takes; "
        "accepted: ab, bandit, interleaving, switchback; did you mean 'ab'?"
    )
    assert two.value.to_dict() == {
        "error": "DefinitionError",
        "message": str(two.value),
        "faults": [
            {
                "problem": "'loose' is not one of the values this takes",
                "file": str(path),
                "line": 10,
                "field": "pins",
                "accepted": "none, required",
                "next": None,
            },
            {
                "problem": "'abc' is not one of the values this takes",
                "file": str(path),
                "line": 11,
                "field": "method",
                "accepted": "ab, bandit, interleaving, switchback",
                "next": "did you mean 'ab'?",
            },
        ],
    }
