"""Verdict rules that a definition writes down: what they decide, what they say, and what is refused before launch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from finding import FINAL, PEEK, found, guard, primary

from equipoise.design.plan import plan
from equipoise.errors import DefinitionError
from equipoise.experiment.definition import Experiment
from equipoise.experiment.identity import canonical
from equipoise.experiment.reading import read_canonical, read_definition
from equipoise.experiment.verdict_rule import USUAL
from equipoise.verdict.analysis import Analysis
from equipoise.verdict.deciding import Verdict, decide

HEAD = """\
name: cheaper
hypothesis: A smaller model costs less and resolves no less.
unit: {type: user}
changes: [model]
variants: {control: {model: a}, b: {model: b}, c: {model: c}}
metrics:
  resolved: {priority: primary, kind: proportion, of: outcome.resolved, better: higher, baseline: 0.6, mde: 5pp, margin: 2pp}
  safety: {priority: guardrail, kind: proportion, of: outcome.safe, better: higher, baseline: 0.9, margin: 1pp}
  score: {kind: mean, of: score.policy, better: higher}
segments: [tier]
critical_segments: [{where: tier=gold, metric: resolved, margin: 3pp}]
"""
USUAL_LINES = (
    "{when: {health: invalid}, then: invalid}",
    "{when: {guardrails: breached}, then: roll back}",
    "{when: {look: peek}, then: keep running}",
    "{when: {primary: not_estimable}, arms: any, then: invalid}",
    "{when: {primary: better, guardrails: held}, then: ship}",
    "{when: {primary: worse}, then: hold}",
    "{when: {look: last}, then: hold}",
    "{then: keep running}",
)


def read(folder: Path, *lines: str, head: str = HEAD) -> Experiment:
    written = "".join(f"  - {line}\n" for line in lines)
    (folder / "e.yaml").write_text(f"{head}verdict:\n{written}" if lines else head, "utf-8")
    return read_definition(folder / "e.yaml").experiment


def refused(folder: Path, *lines: str, head: str = HEAD) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        read(folder, *lines, head=head)
    return [str(replace(fault, file=None, line=None)) for fault in caught.value.faults]


def edited(line: int, *instead: str) -> tuple[str, ...]:
    return (*USUAL_LINES[: line - 1], *instead, *USUAL_LINES[line:])


def said(verdict: Verdict) -> tuple[int, str, str | None, str]:
    return verdict.branch, verdict.word, verdict.arm, verdict.because


def test_the_usual_rule_written_down_is_the_same_definition(tmp_path: Path) -> None:
    """A table that says what is usual changes no digest; another one does, and reads back from its canonical form."""
    plain, written = read(tmp_path), read(tmp_path, *USUAL_LINES)
    assert written.verdict == plain.verdict == USUAL
    assert written.digest == plain.digest
    other = read(
        tmp_path, *edited(7, "{when: {look: last}, then: roll back, because: it is not worth keeping}")
    )
    assert other.digest != plain.digest
    assert read_canonical(canonical(other)) == other


def test_each_line_speaks_for_itself() -> None:
    """Read from top to bottom, the usual table is the rule in words."""
    assert [line.says for line in USUAL] == [
        "the experiment is not healthy",
        "a guardrail is breached, in every treatment",
        "no registered look is due",
        "the primary cannot be estimated, in a treatment",
        "the primary is better, beyond its boundary, and every guardrail is held, in a treatment",
        "the primary is worse, beyond its boundary, in every treatment",
        "the last look is due",
        "otherwise",
    ]


NOT_WORSE = edited(5, "{when: {primary: non_inferior, guardrails: held}, then: ship}")


def test_what_is_not_worse_ships_where_the_rule_says_so(tmp_path: Path) -> None:
    """A change that saves costs need not improve the primary: its interval must exclude the margin."""
    rule = read(tmp_path, *NOT_WORSE).verdict
    # The interval is the value and 0.02 to each side, the margin 0.02: it is excluded from z = 0 upwards.
    assert said(decide(found(primary(0.1, margin=0.02), guard("held"), rule=rule))) == (
        5,
        "ship",
        "b",
        "resolved is not worse by more than 2.000 pp in b, and every guardrail is held",
    )
    assert decide(found(primary(0.1, margin=0.02), guard("held"))).word == "keep running"
    short = found(primary(-0.1, margin=0.02), guard("held"), rule=rule)
    assert said(decide(short)) == (
        8,
        "keep running",
        None,
        "it is not shown at this look that resolved keeps within its margin of 2.000 pp",
    )
    assert said(decide(replace(short, look=FINAL))) == (
        7,
        "hold",
        None,
        "the last look did not show that resolved keeps within its margin of 2.000 pp; that is no proof that it does not",
    )
    doubt = found(primary(0.1, margin=0.02), guard("not shown"), rule=rule)
    assert said(decide(doubt))[2:] == (
        None,
        "resolved is not worse by more than 2.000 pp, and safety is still in doubt",
    )
    lower = replace(primary(0.1, better="lower", margin=0.02))
    assert decide(found(lower, guard("held"), rule=rule)).word == "keep running"


def test_a_plan_is_sized_by_what_the_rule_ships(tmp_path: Path) -> None:
    """Where not worse is enough, units are those that exclude the margin, and no `mde` is asked for."""
    by_margin = plan(read(tmp_path, *NOT_WORSE, head=HEAD.replace("mde: 5pp, ", ""))).sizes["resolved"]
    assert (by_margin.question, by_margin.effect) == ("exclude", 0.02)
    by_effect = plan(read(tmp_path)).sizes["resolved"]
    assert (by_effect.question, by_effect.effect) == ("detect", 0.05)
    assert by_margin.total > by_effect.total


def test_not_worse_may_be_enough_only_at_the_end(tmp_path: Path) -> None:
    """Better ships at any look, not worse at the last one alone."""
    lines = edited(
        7, "{when: {look: last, primary: non_inferior, guardrails: held}, then: ship}", USUAL_LINES[6]
    )
    rule = read(tmp_path, *lines).verdict
    effects = (primary(0.5, margin=0.02), guard("held"))
    assert said(decide(found(*effects, rule=rule))) == (
        9,
        "keep running",
        None,
        "resolved has not crossed its boundary at this look",
    )
    assert said(decide(found(*effects, rule=rule, look=FINAL)))[:3] == (7, "ship", "b")
    assert said(decide(found(primary(3.0, margin=0.02), guard("held"), rule=rule)))[:3] == (5, "ship", "b")


def test_one_breach_is_enough_where_any_arm_is_asked(tmp_path: Path) -> None:
    """A guardrail by its name, in any treatment: the others do not matter."""
    lines = edited(
        2,
        "{when: {safety: breached}, arms: any, then: roll back, because: nobody may be hurt}",
        USUAL_LINES[1],
    )
    effects = (primary(3.0, "b"), primary(3.0, "c"), guard("held", "b"), guard("breached", "c"))
    verdict = decide(found(*effects, rule=read(tmp_path, *lines).verdict, look=PEEK))
    assert said(verdict) == (2, "roll back", None, "nobody may be hurt: safety is breached in c: it is worse")
    assert decide(found(*effects)).word == "ship"


def test_a_critical_segment_may_be_asked_by_its_name(tmp_path: Path) -> None:
    """It is called what reports call it."""
    lines = edited(
        5, "{when: {primary: better, safety: held, resolved in tier=gold: not_breached}, then: ship}"
    )
    rule = read(tmp_path, *lines).verdict
    gold = {"metric": "resolved", "segment": "tier=gold"}
    verdict = decide(found(primary(3.0), guard("held"), guard("not shown", **gold), rule=rule))
    assert said(verdict) == (
        5,
        "ship",
        "b",
        "resolved improved beyond its boundary in b, and resolved in tier=gold is not breached, and safety is held",
    )
    assert (
        decide(found(primary(3.0), guard("held"), guard("breached", **gold), rule=rule)).word == "roll back"
    )
    assert decide(found(primary(3.0), guard("not shown"), guard("held", **gold), rule=rule)).because == (
        "resolved improved beyond its boundary, and safety is still in doubt"
    )


def test_what_cannot_reach_its_mde_any_more_may_be_ended(tmp_path: Path) -> None:
    """Futile is where the interval rules the effect worth finding out, in every treatment."""
    rule = read(tmp_path, *edited(6, "{when: {primary: futile}, then: hold}")).verdict
    # Two standard errors to each side: up to z = 3 the interval reaches 0.05.
    ended = decide(found(primary(1.0, mde=0.05), guard("held"), rule=rule))
    assert said(ended) == (
        6,
        "hold",
        None,
        "that resolved improves by 5.000 pp, the effect worth finding, is ruled out in b",
    )
    assert ended.would_change == "a new experiment planned for a smaller effect, or a stronger change"
    open_still = (primary(1.0, mde=0.05), primary(3.5, "c", mde=0.05), guard("held"), guard("not shown", "c"))
    assert decide(found(*open_still, rule=rule)).word == "keep running"
    assert decide(found(primary(-3.0, mde=0.05), guard("held"), rule=rule)).word == "hold"


def test_a_rule_is_shown_with_the_line_that_decided() -> None:
    """On top the line, at the foot all of them; the same in JSON."""
    findings = found(primary(3.0), guard("held"))
    shown = Analysis(findings=findings, verdict=decide(findings))
    line = (
        "By line 5 of 8 of the verdict rule: the primary is better, beyond its boundary, and every guardrail is held, "
        "in a treatment."
    )
    assert line in shown.summary()
    assert line in shown.to_markdown().replace("\\", "")
    assert line in shown.to_html()
    assert (
        "| ➜ 5 | the primary is better, beyond its boundary, and every guardrail is held, in a treatment | ship |"
        in shown.to_markdown()
    )
    waiting = found(primary(1.0), guard("held"))
    assert Analysis(findings=waiting, verdict=decide(waiting)).summary().splitlines()[1] == (
        "By line 8 of 8 of the verdict rule: no other applies."
    )
    told = shown.to_dict()
    assert told["branch"] == 5
    assert told["rule"] == [line.to_dict() for line in USUAL]
    assert told["rule"][4] == {"when": {"primary": "better", "guardrails": "held"}, "then": "ship"}


@pytest.mark.parametrize(
    ("lines", "faults"),
    [
        (
            USUAL_LINES[1:],
            [
                ("verdict[1]: an experiment that is not healthy would be answered 'keep running' here; accepted: 'invalid' "
                "for whatever is not healthy; write {when: {health: invalid}, then: invalid} first"),
            ],
        ),
        (
            edited(1, "{when: {health: invalid}, then: ship}"),
            [
                ("verdict[0]: a treatment would ship although safety or resolved in tier=gold is breached; accepted: "
                "guardrails: held, or guardrails: not_breached, among the conditions"),
                ("verdict[0]: a treatment would ship whatever the primary shows; accepted: primary: better, or primary: "
                "non_inferior, among the conditions"),
                ("verdict[0]: an experiment that is not healthy would be answered 'ship' here; accepted: 'invalid' for "
                "whatever is not healthy; write {when: {health: invalid}, then: invalid} first"),
            ],
        ),
        (
            edited(5, "{when: {primary: better, safety: held}, then: ship}"),
            [
                ("verdict[4]: a treatment would ship although resolved in tier=gold is breached; accepted: guardrails: held, "
                "or guardrails: not_breached, among the conditions")
            ],
        ),
        (
            edited(5, "{when: {primary: better, guardrails: not_breached, safety: not_shown}, then: ship}"),
            [
                ("verdict[4]: a treatment would ship where safety is in doubt, and not where it is held; accepted: safety: "
                "held, or safety: not_breached")
            ],
        ),
        (
            (*USUAL_LINES[:6], USUAL_LINES[7]),
            [
                ("verdict[6]: it would keep running at the last look, after which no more data come; accepted: an end for "
                "every last look, such as {when: {look: last}, then: hold}, before this line")
            ],
        ),
        (
            edited(8, "{when: {look: interim}, then: keep running}"),
            [
                ("verdict[7]: where no line applies, there would be no verdict; accepted: a last line without `when`; end "
                "with {then: keep running}")
            ],
        ),
        (
            (*edited(3, "{when: {look: last}, then: hold}")[:7], "{then: hold}"),
            [
                ("verdict[6]: this line is never reached: verdict[2] applies wherever it does; put the narrower line first, "
                "or leave this one out"),
                ("verdict[7]: it would be answered 'hold' before any look is due, and for no harm; accepted: at a peek a "
                "breached guardrail, or to keep running; write {when: {look: peek}, then: keep running} before this line"),
            ],
        ),
        (
            edited(6, "{when: {primary: worse}, arms: any, then: hold}", "{when: {primary: worse, safety: held}, then: hold}"),
            [
                ("verdict[6]: this line is never reached: verdict[5] applies wherever it does; put the narrower line first, "
                "or leave this one out")
            ],
        ),
        (
            edited(6, "{when: {look: peek, primary: worse}, then: hold}", "{when: {safety: held, guardrails: breached, resolved in tier=gold: not_breached}, then: hold}"),
            [
                "verdict[5]: this line is never reached: where no look is due, the primary is withheld; leave it out",
                "verdict[6]: this line is never reached: one guardrail must be breached, and none may be; leave it out",
            ],
        ),
        (
            edited(5, "{when: {primary: better, guardrails: held}, arms: any, then: ship}", "{when: {look: last}, arms: any, then: hold}")[:6]
            + USUAL_LINES[7:],
            [
                "verdict[4].arms: what ships is one treatment that meets all conditions; leave `arms` out",
                "verdict[5].arms: `arms` belongs to conditions on the primary or on guardrails; leave it out",
            ],
        ),
        (
            edited(2, "{when: {saftey: breached, score: held}, then: roll back}"),
            [
                ("verdict[1].when.saftey: there is no guardrail 'saftey'; accepted: health, look, primary, guardrails, "
                "safety, resolved in tier=gold; did you mean 'safety'?"),
                ("verdict[1].when.score: 'score' is secondary, and only the primary and guardrails decide; accepted: health, "
                "look, primary, guardrails, safety, resolved in tier=gold; make it a guardrail with a margin"),
            ],
        ),
        (
            edited(2, "{when: {safety: broken, primary: better, look: now}, then: rollback}"),
            [
                ("verdict[1].then: 'rollback' is not one of the values this takes; accepted: ship, hold, roll back, keep "
                "running, invalid; did you mean 'roll back'?"),
                "verdict[1].when.look: 'now' is not one of the values this takes; accepted: peek, interim, last",
                ("verdict[1].when.safety: 'broken' cannot be read here; accepted: of one guardrail held, breached, "
                "not_breached, not_shown; other conditions are about health, look, primary, guardrails"),
            ],
        ),
    ],
)  # fmt: skip
def test_an_unsafe_rule_is_refused_with_every_fault(
    lines: tuple[str, ...], faults: list[str], tmp_path: Path
) -> None:
    """What ships blindly, never ends, ends for nothing, or is never reached is told at once, line by line."""
    assert sorted(refused(tmp_path, *lines)) == faults


def test_a_rule_needs_what_it_compares_with(tmp_path: Path) -> None:
    """Not worse by what? Futile to find which effect? Both are written at the metric."""
    lines = (*NOT_WORSE[:5], "{when: {primary: futile}, then: hold}", *NOT_WORSE[6:])
    assert refused(tmp_path, *lines, head=HEAD.replace("mde: 5pp, margin: 2pp", "spread: 1")) == [
        (
            "verdict[4].when.primary: the primary, resolved, has no `margin` to be non-inferior by; accepted: `margin` (how "
            "much worse is still acceptable) written at the metric, such as margin: 2pp"
        ),
        (
            "verdict[5].when.primary: the primary, resolved, has no `mde` to be futile by; accepted: `mde` (the smallest "
            "effect worth finding) written at the metric, such as mde: 2pp"
        ),
    ]
