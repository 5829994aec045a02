"""Shadow read out: turns paired with what nobody saw, differences within pairs, guardrails, texts, and a judge."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from equipoise.analysis.shadowed import guard_in_shadow, paired_effect
from equipoise.cli.main import app
from equipoise.cli.rollout_text import judged_lines, shadow_lines
from equipoise.clock import ManualClock
from equipoise.conduct.enter import enter
from equipoise.conduct.register import register
from equipoise.conduct.shadow import NO_USERS, shadow
from equipoise.conduct.shadow_judging import judge_shadow
from equipoise.errors import GateError, UsageError
from equipoise.events.facts import Fact, Shadow, Transition, Turn
from equipoise.events.log import EventLog, MemoryLog
from equipoise.events.opening import open_log, open_texts
from equipoise.events.texts import Said, Text, TextStore
from equipoise.experiment.amount import Amount
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric, Quantity
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.pairs import Pair, pairs_of
from equipoise.providers.simulated import SimulatedAnswer, SimulatedEndpoint
from equipoise.stats.estimate import Estimate, NotEstimable

NOW = 1_700_000_000.0
BASE: dict[str, Any] = {
    "name": "bot",
    "hypothesis": "Another model answers as well.",
    "unit": "conversation",
    "changes": ["model"],
    "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
    "metrics": {
        "resolution_rate": {"priority": "primary"},
        "latency_p95": {"priority": "guardrail", "margin": 0.5},
        "error_rate": {"priority": "guardrail", "margin": "5pp"},
        "cost_per_response": {"priority": "guardrail", "margin": "50%"},
    },
    "rollout": {"stages": ["shadow", "canary", "ab"], "shadow": {"share": "10%", "turns": 50}},
}
BOT = read_canonical(BASE)


def pair(
    number: int, unit: str | None, control: dict[str, Any], treatment: dict[str, Any], of: Experiment = BOT
) -> tuple[Turn, Shadow]:
    """A turn of control's and its shadow, each with what is said of it."""
    told: dict[str, Any] = {"experiment": "bot", "happened": NOW + number, "digest": of.digest, "unit": unit, "trace": f"{number:032x}"}  # fmt: skip
    turn = Turn(**told, event_id=f"t{number}", reason="not_live", **control)
    other = {"variant": "treatment", "of": f"t{number}"} | treatment
    return turn, Shadow(**told, event_id=f"s{number}", reason="shadow", **other)


def measured(latency: float, **more: Any) -> dict[str, Any]:
    return {
        "latency_s": latency,
        "error": False,
        "cost_usd": 0.001,
        "output_tokens": 100,
        "input_tokens": 50,
    } | more


def logged(facts: list[Fact], of: Experiment = BOT, log: EventLog | None = None) -> EventLog:
    """A log with the experiment in shadow, and these facts."""
    log = log or MemoryLog(ManualClock(NOW))
    register(log, of, by="ann", clock=ManualClock(NOW))
    log.append(facts)
    return log


def traffic(slower: float = 0.0, dearer: float = 1.0, failing: float = 0.0, turns: int = 240) -> list[Fact]:
    """Conversations of three turns; the treatment takes as much longer, costs as much more, and fails as often."""
    rng = random.Random(7)
    facts: list[Fact] = []
    for number in range(turns):
        long = rng.expovariate(1.0) + 0.2
        wrong = rng.random() < failing
        control = measured(long + 0.01 * rng.random(), overhead_s=0.0)
        treatment = measured(long + slower + 0.01 * rng.random(), cost_usd=0.001 * dearer * (1 + 0.1 * rng.random()), error=wrong)  # fmt: skip
        facts += pair(number, f"c{number // 3}", control, treatment)
    return facts


def test_a_shadow_belongs_to_the_turn_it_names() -> None:
    """Of a trace with two turns each shadow finds its own, in whatever order they were recorded."""
    facts = [*pair(1, "u", measured(1.0), measured(2.0)), *pair(2, "u", measured(3.0), measured(4.0))]
    together: list[Fact] = [Turn(**{**told(each), "trace": "one"}) if type(each) is Turn else Shadow(**{**told(each), "trace": "one"}) for each in facts]  # fmt: skip
    random.Random(1).shuffle(together)
    found = pairs_of(logged(together), BOT)
    seen = {(each.control.latency_s, each.treatment.latency_s) for each in found.by_arm["treatment"]}
    assert (seen, found.aside) == ({(1.0, 2.0), (3.0, 4.0)}, {})


def told(fact: Fact) -> dict[str, Any]:
    return {
        name: getattr(fact, name) for each in type(fact).__mro__ for name in getattr(each, "__slots__", ())
    }


def test_what_finds_no_turn_is_counted_and_left_out() -> None:
    """No turn, a turn of a trace with several and no name, a turn cancelled, or answered by another model."""
    lone = pair(1, "u", measured(1.0), measured(1.0))[1]
    nameless = [
        pair(2, "u", measured(1.0), {"of": None}),
        (pair(3, "u", measured(1.0), {})[0], pair(2, "u", {}, {"of": None})[1]),
    ]
    twice = Turn(**{**told(nameless[1][0]), "trace": nameless[0][0].trace})
    facts: list[Fact] = [
        lone,
        nameless[0][0], twice, nameless[0][1],
        *pair(4, "u", measured(1.0, cancelled=True), measured(1.0)),
        *pair(5, "u", measured(1.0, fallback=True), measured(1.0)),
        # Written before shadows named their turn: the only one of its trace.
        *pair(6, None, measured(1.0), measured(1.5, of=None)),
    ]  # fmt: skip
    found = pairs_of(logged(facts), BOT)
    assert found.aside == {"unpaired": 2, "cancelled": 1, "fallback": 1}
    assert [(each.conversation, each.treatment.latency_s) for each in found.by_arm["treatment"]] == [
        ("turn t6", 1.5)
    ]


def test_another_revisions_shadows_are_not_this_ones() -> None:
    """Pairs are of the digest that is asked for, turn and shadow."""
    other = read_canonical(BASE | {"hypothesis": "It answers better."})
    facts: list[Fact] = [*pair(1, "u", measured(1.0), measured(2.0)), *pair(2, "u", measured(1.0), measured(2.0), of=other)]  # fmt: skip
    log = logged(facts)
    assert [each.control.event_id for each in pairs_of(log, BOT).by_arm["treatment"]] == ["t1"]
    assert [each.control.event_id for each in pairs_of(log, other).by_arm["treatment"]] == ["t2"]


def test_differences_are_within_pairs_and_by_conversation() -> None:
    """What both sides share cancels: of a spread of a second a tenth of a second is seen; cost and tokens beside it."""
    found = shadow(logged(traffic(slower=0.1, dearer=1.2)), BOT)
    assert (found.turns, found.conversations) == ({"treatment": 240}, {"treatment": 80})
    by_name = {each.name: each for each in found.effects}
    latency = by_name["latency_s"].estimate
    assert isinstance(latency, Estimate)
    assert latency.value == pytest.approx(0.1, abs=0.002)
    assert latency.standard_error < 0.001
    cost = by_name["cost_usd"].estimate
    assert isinstance(cost, Estimate)
    assert cost.value == pytest.approx(0.00026, rel=0.03)
    assert by_name["output_tokens"].estimate == NotEstimable(
        "every cluster of an arm has the same ratio, so there is no spread between clusters"
    )
    error = by_name["error"].estimate
    assert isinstance(error, Estimate)
    assert (error.value, error.high) == (0.0, pytest.approx(0.0458, abs=1e-4))


def test_a_conversation_of_many_turns_is_one_witness() -> None:
    """The interval of 200 turns in ten conversations is that of ten, where turns of one are alike."""
    rng = random.Random(3)
    apart = {f"c{n}": rng.gauss(0.0, 1.0) for n in range(10)}
    facts: list[Fact] = []
    for number in range(200):
        unit = f"c{number % 10}"
        facts += pair(number, unit, measured(5.0), measured(5.0 + apart[unit] + 0.01 * rng.random()))
    (effect,) = (each for each in shadow(logged(facts), BOT).effects if each.name == "latency_s")
    assert isinstance(effect.estimate, Estimate)
    spread = (sum((each - sum(apart.values()) / 10) ** 2 for each in apart.values()) / 9 / 10) ** 0.5
    assert effect.estimate.standard_error == pytest.approx(spread, rel=0.02)


def test_the_gateways_own_time_is_no_part_of_a_turns_latency() -> None:
    """A shadow's latency is the model's alone, and so is that of the turn beside it."""
    pairs = [
        Pair(*pair(n, f"c{n}", measured(1.25 + n, overhead_s=0.25), measured(1.0 + n))) for n in range(5)
    ]
    effect = paired_effect("latency_s", "treatment", pairs)
    assert (effect.control, effect.treatment) == (3.0, 3.0)


def test_an_answer_that_was_stopped_counts_for_safety_alone() -> None:
    """How long and dear it would have been nobody knows; that it was unsafe is known."""
    pairs = [
        Pair(
            *pair(
                n,
                f"c{n}",
                measured(1.0, safe=n > 0, blocked=True if n == 0 else None),
                measured(1.0 + n, safe=True),
            )
        )
        for n in range(4)
    ]
    assert paired_effect("latency_s", "treatment", pairs).pairs == 3
    assert (
        paired_effect("safe", "treatment", pairs).pairs,
        paired_effect("safe", "treatment", pairs).control,
    ) == (4, 0.75)


@pytest.mark.parametrize(
    "made, held",
    [
        ({}, {"latency_p95": "held", "error_rate": "held", "cost_per_response": "held"}),
        ({"slower": 5.0}, {"latency_p95": "breached", "error_rate": "held", "cost_per_response": "held"}),
        ({"dearer": 2.0}, {"latency_p95": "held", "error_rate": "held", "cost_per_response": "breached"}),
        ({"failing": 0.3}, {"latency_p95": "held", "error_rate": "breached", "cost_per_response": "not shown"}),
        ({"failing": 1.0}, {"latency_p95": "held", "error_rate": "breached", "cost_per_response": "not shown"}),
        ({"turns": 12}, {"latency_p95": "not shown", "error_rate": "not shown", "cost_per_response": "not shown"}),
    ],
)  # fmt: skip
def test_guardrails_are_judged_against_their_own_margins(made: dict[str, Any], held: dict[str, str]) -> None:
    """Half a second at p95, five points of errors, half the cost: each kept, broken, or not to be told from a dozen turns."""
    facts = traffic(**made)
    if made.get("slower") is None and made.get("turns") is None:
        # A p95 of exponential latencies is uncertain by more than half a second: these vary little.
        for fact in facts:
            assert isinstance(fact, Turn)
            object.__setattr__(fact, "latency_s", 1.0 + 0.1 * ((fact.latency_s or 0.0) % 1.0))
    found = {each.name: each for each in shadow(logged(facts), BOT).guardrails}
    assert {name: each.held for name, each in found.items()} == held


def test_a_breach_is_said_in_a_sentence_and_bars_the_canary() -> None:
    """No reason goes past a guardrail that is shown to be worse; where all is well the move keeps what it rests on."""
    log = logged(traffic(dearer=2.0))
    with pytest.raises(GateError) as refused:
        enter(log, "bot", "canary", by="ann", reason="never mind")
    assert str(refused.value) == (
        f"{BOT.identity} may not enter canary: in shadow cost_per_response of treatment is worse by more than its margin of "
        "0.0005 (0.002095 against 0.001, in 240 pairs). A reason does not go past that"
    )
    log = logged(traffic(turns=30))
    with pytest.raises(GateError) as refused:
        enter(log, "bot", "canary", by="ann")
    assert str(refused.value) == (
        f"{BOT.identity} may not enter canary: treatment has 30 of the 50 turns in shadow that are asked for. "
        "Give the reason for going on with --reason"
    )
    done = enter(log, "bot", "canary", by="ann", reason="it is the holidays")
    assert done.evidence["overridden"] == ["treatment has 30 of the 50 turns in shadow that are asked for"]
    log = logged(traffic(turns=60))
    assert enter(log, "bot", "canary", by="ann").evidence["overridden"] == []
    moved = [each.fact for each in log.read_since() if isinstance(each.fact, Transition)][-1]
    assert moved.evidence["shadow"] == orjson.loads(orjson.dumps(shadow(log, BOT).to_dict()))


def metric(kind: Any, of: str, **more: Any) -> Metric:
    given: dict[str, Any] = {"margin": Amount(0.1), "per_unit": "mean", "better": "lower"} | more
    return Metric(name="m", priority="guardrail", tier="code", kind=kind, of=Quantity.parse(of), **given)


OUT_OF_SIGHT = "it needs what users do, and in shadow nobody sees the answer"
WHOLE = "it is of a whole conversation, and shadow answers single turns"


@pytest.mark.parametrize(
    "guard, reason",
    [
        (metric("proportion", "outcome.resolved"), OUT_OF_SIGHT),
        (metric("mean", "score.policy"), OUT_OF_SIGHT),
        (metric("ratio", "turn.cost_usd", per=Quantity("outcome", "resolved")), OUT_OF_SIGHT),
        (metric("mean", "turn.output_tokens", per_unit="sum"), WHOLE),
        (metric("count", "turn.error"), WHOLE),
        (metric("mean", "turn.ttft_s"), "there are no pairs"),
        (metric("quantile", "turn.ttft_s", q=0.5), "there are no values"),
        (metric("mean", "turn.latency_s", margin=None), "no margin is declared for it"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.of),
)
def test_what_shadow_cannot_show_is_said(guard: Metric, reason: str) -> None:
    """Never held and never breached: not shown, and why."""
    pairs = [Pair(*pair(n, f"c{n}", measured(1.0 + n), measured(1.5 + n * n))) for n in range(6)]
    found = guard_in_shadow(guard, "treatment", pairs)
    assert (found.held, found.because) == ("not shown", reason)


@pytest.mark.parametrize(
    ("guard", "held", "because"),
    [
        (
            metric("mean", "turn.latency_s", margin=Amount(9.0), limit=2.0),
            "breached",
            "is beyond its limit of 2 (3, from 2.989 to 3.011, in 80 pairs)",
        ),
        (
            metric("mean", "turn.latency_s", margin=Amount(9.0), limit=3.001),
            "not shown",
            "is neither shown to be within its limit of 3.001 nor to be beyond it (3, from 2.989 to 3.011, in 80 pairs)",
        ),
        (
            metric("mean", "turn.latency_s", margin=Amount(9.0), limit=4.0),
            "held",
            (
                "is worse by no more than its margin of 9 (3 against 1.01, in 80 pairs); "
                "is within its limit of 4 (3, from 2.989 to 3.011, in 80 pairs)"
            ),
        ),
        (
            metric("mean", "turn.latency_s", margin=Amount(0.5), limit=4.0),
            "breached",
            "is worse by more than its margin of 0.5 (3 against 1.01, in 80 pairs)",
        ),
        (
            metric("mean", "turn.latency_s", margin=None, limit=4.0),
            "held",
            "is within its limit of 4 (3, from 2.989 to 3.011, in 80 pairs)",
        ),
        (
            metric("quantile", "turn.latency_s", q=0.5, margin=Amount(9.0), limit=2.0),
            "breached",
            "is beyond its limit of 2 (2.95, from 2.95 to 3.05, in 80 pairs)",
        ),
        (
            metric("proportion", "turn.json_valid", better="higher", margin=Amount(0.9), limit=0.9),
            "breached",
            "is beyond its limit of 0.9 (0.5, from 0.388 to 0.612, in 80 pairs)",
        ),
        (
            metric("ratio", "turn.cost_usd", per=Quantity("turn", "kilotokens"), margin=Amount(9.0), limit=0.01),
            "breached",
            "is beyond its limit of 0.01 (0.01334, from 0.01334 to 0.01334, in 80 pairs)",
        ),
        (
            metric("mean", "turn.retries", margin=Amount(9.0), limit=1.0),
            "not shown",
            "there are no pairs; nothing shows whether it keeps within its limit of 1: there are no pairs",
        ),
    ],
    ids=["beyond", "not to be told", "within both", "beyond the margin", "no margin", "quantile", "higher", "ratio", "none"],
)  # fmt: skip
def test_a_limit_is_read_beside_the_margin_and_the_worse_answer_is_told(guard, held, because) -> None:
    """The interval of the treatment's own value is beyond it, within it, or on both sides: control's does not matter."""
    pairs = [
        Pair(*pair(n, f"c{n}", measured(1.0 + 0.01 * (n % 3), json_valid=True),
                   measured(2.95 + 0.1 * (n % 2), cost_usd=0.002 + 0.000001 * (n % 3), json_valid=n % 2 == 0)))
        for n in range(80)
    ]  # fmt: skip
    found = guard_in_shadow(guard, "treatment", pairs)
    assert (found.held, found.because) == (held, because)
    assert found.to_dict()["limit"] == guard.limit


def test_a_limit_that_is_passed_bars_the_canary() -> None:
    """However near control is: both are too slow."""
    metrics = BASE["metrics"] | {"latency_p95": {"priority": "guardrail", "margin": 5.0, "limit": 0.5}}
    of = read_canonical(BASE | {"metrics": metrics})
    facts = [
        each
        for number in range(240)
        for each in pair(number, f"c{number // 3}", measured(1.0 + 0.001 * number), measured(1.1 + 0.001 * number), of)
    ]  # fmt: skip
    with pytest.raises(GateError) as refused:
        enter(logged(facts, of), "bot", "canary", by="ann", reason="never mind")
    assert str(refused.value) == (
        f"{of.identity} may not enter canary: in shadow latency_p95 of treatment is beyond its limit of 0.5 "
        "(1.327, from 1.316 to 1.339, in 240 pairs). A reason does not go past that"
    )


def test_a_ratio_and_what_is_better_higher_are_judged_too() -> None:
    """Cost by token, and JSON that is valid: worse is the other way round."""
    rng = random.Random(2)
    pairs = [
        Pair(*pair(n, f"c{n}", measured(1.0, cost_usd=0.001 * (1 + rng.random()), json_valid=True),
                   measured(1.0, cost_usd=0.002 * (1 + rng.random()), json_valid=rng.random() < 0.5)))
        for n in range(80)
    ]  # fmt: skip
    ratio = metric(
        "ratio", "turn.cost_usd", per=Quantity("turn", "kilotokens"), margin=Amount(0.1, "relative")
    )
    assert guard_in_shadow(ratio, "treatment", pairs).held == "breached"
    valid = metric("proportion", "turn.json_valid", better="higher")
    found = guard_in_shadow(valid, "treatment", pairs)
    assert (found.held, found.control) == ("breached", 1.0)
    assert (
        guard_in_shadow(metric("proportion", "turn.json_valid", better="lower"), "treatment", pairs).held
        == "held"
    )


def text(fact: Turn, answer: str, **more: Any) -> Text:
    given: dict[str, Any] = {
        "event_id": fact.event_id, "kind": fact.kind, "experiment": "bot", "digest": BOT.digest, "variant": fact.variant,
        "trace": fact.trace, "unit": None, "happened": NOW, "expires": NOW + 1e6, "probability": 1.0,
        "request": (Said("system", "You are the new one."), Said("user", "May I return it?")), "answer": answer,
    }  # fmt: skip
    return Text(**(given | more))


def worded(
    of: Experiment = BOT,
    log: EventLog | None = None,
    texts: TextStore | None = None,
    expires: float = NOW + 1e6,
) -> tuple[EventLog, TextStore]:
    """Forty pairs in twenty conversations with texts: half of the treatment's answers are better, a quarter the same."""
    texts = texts or open_texts("memory:")
    facts: list[Fact] = []
    for number in range(40):
        turn, other = pair(
            number, f"c{number // 2}", measured(1.0, sampled=1.0), measured(1.1, sampled=1.0), of=of
        )
        facts += [turn, other]
        said = (
            "You may, within 30 days."
            if number % 4 == 0
            else "better: within 30 days, yes"
            if number % 2
            else "No."
        )
        texts.keep(
            [text(turn, "You may, within 30 days.", expires=expires), text(other, said, expires=expires)]
        )
    facts += pair(100, "c100", measured(1.0), measured(1.0), of=of)
    return logged(facts, of, log), texts


def test_texts_that_were_kept_are_compared() -> None:
    """The cosine of the answers over pairs that have both texts; without any it says so; nothing is compared unasked."""
    log, texts = worded()
    clock = ManualClock(NOW)
    likeness = shadow(log, BOT, texts=texts, clock=clock).likeness["treatment"]
    assert likeness.pairs == 40
    assert isinstance(likeness.estimate, Estimate)
    assert 0.25 < likeness.estimate.low < likeness.estimate.value < likeness.estimate.high < 0.9
    late = shadow(log, BOT, texts=texts, clock=ManualClock(NOW + 2e6)).likeness["treatment"]
    assert (late.pairs, late.estimate) == (0, NotEstimable("of no pair the texts of both answers are kept"))
    assert shadow(log, BOT).likeness == {}


def judge(body: Any) -> SimulatedAnswer:
    """Prefers an answer that begins with `better`, wherever it stands; of others the first that is shown."""
    said = body["messages"][-1]["content"]
    assert "You are the new one" not in said
    shown = orjson.loads(said[said.index("{") : said.rindex("}") + 1])
    better = [place for place in "AB" if shown[f"answer_{place}"].startswith("better")]
    return SimulatedAnswer(text=orjson.dumps({"reason": "", "winner": (better or ["A"])[0]}).decode())


JUDGED = read_canonical(
    BASE
    | {
        "offline": {"cases": "golden.jsonl", "judge": {"model": "j"}},
        "prices": {"j": {"input": 1.0, "output": 1.0}},
    }
)


@pytest.fixture
def judging() -> Iterator[str]:
    with SimulatedEndpoint(judge, models=("j",)) as url:
        yield url


def register_ungated(log: EventLog) -> None:
    register(log, JUDGED, by="ann", reason="a test", clock=ManualClock(NOW))


@pytest.fixture
def asked_about() -> tuple[EventLog, TextStore]:
    log = MemoryLog(ManualClock(NOW))
    register_ungated(log)
    return worded(JUDGED, log)


def test_the_offline_judge_compares_pairs_in_both_orders(
    asked_about: tuple[EventLog, TextStore], judging: str
) -> None:
    """A better answer wins in both orders, the same one is a tie unasked, and a first place that wins twice is a tie."""
    log, texts = asked_about
    asked = judge_shadow(log, JUDGED, texts, connect=lambda *_: (judging, None), most=100, max_cost_usd=1.0, clock=ManualClock(NOW))  # fmt: skip
    found = asked.by_arm["treatment"]
    assert (found.available, found.wins, found.ties, found.losses, found.unscored) == (40, 20, 20, 0, 0)
    assert found.disagreed == 10
    assert isinstance(found.win_rate, Estimate)
    assert found.win_rate.value == 0.75
    assert asked.stopped is None
    assert asked.cost_usd is not None
    assert asked.cost_usd > 0
    (line, cost) = judged_lines(asked)
    assert line.startswith(
        "j on treatment: 20 won, 20 tied (10 where the orders disagreed), 0 lost, 0 without a verdict; win rate 0.75 ["
    )
    assert cost == f"it cost ${asked.cost_usd:.4f}"


def test_the_judge_keeps_to_number_and_money(asked_about: tuple[EventLog, TextStore], judging: str) -> None:
    """So many pairs and no more; what the limit does not allow is not asked, and that is said."""
    log, texts = asked_about
    few = judge_shadow(log, JUDGED, texts, connect=lambda *_: (judging, None), most=6, max_cost_usd=1.0, clock=ManualClock(NOW))  # fmt: skip
    assert few.by_arm["treatment"].available == 6
    poor = judge_shadow(log, JUDGED, texts, connect=lambda *_: (judging, None), most=40, max_cost_usd=0.001, clock=ManualClock(NOW))  # fmt: skip
    done = poor.by_arm["treatment"]
    assert done.wins + done.ties + done.losses < 40
    assert poor.stopped == "the limit of $0.001 was reached"
    assert poor.cost_usd is not None
    assert poor.cost_usd <= 0.001


@pytest.mark.parametrize(
    "experiment, most, sentence",
    [
        (BOT, 5, f"{BOT.identity} names no judge that can be asked which of two answers is better; `offline: {{judge: {{model: …}}}}` names one, in a new revision"),
        (JUDGED, 0, "0 pairs are none to judge; accepted: 1 or more"),
        (read_canonical(BASE | {"offline": {"cases": "golden.jsonl", "judge": {"model": "j"}}}), 5,
         ("a limit on the cost needs the price of every model asked, and none is known for j; add to the definition "
         "`prices: {j: {input: …, output: …}}`, in US dollars per million tokens")),
    ],
    ids=["no judge", "none", "no price"],
)  # fmt: skip
def test_what_cannot_be_judged_is_refused(experiment: Experiment, most: int, sentence: str) -> None:
    """Before anything is asked or paid."""
    with pytest.raises(UsageError) as refused:
        judge_shadow(MemoryLog(), experiment, open_texts("memory:"), connect=lambda *_: ("http://127.0.0.1:1", None), most=most, max_cost_usd=1.0)  # fmt: skip
    assert str(refused.value) == sentence


def test_the_read_out_is_told_in_lines() -> None:
    """Pairs, differences with intervals, each guardrail, and at the end what none of it says."""
    log, texts = worded()
    lines = list(shadow_lines(shadow(log, BOT, texts=texts, clock=ManualClock(NOW))))
    assert lines[0] == "shadow: 41 turns of treatment beside control's, in 21 conversations"
    assert lines[1].splitlines()[0].split() == ["by", "turn", "arm", "control", "arm's", "difference"]
    assert lines[-1] == NO_USERS
    assert [line.partition(":")[0] for line in lines[2:5]] == ["not shown", "not shown", "not shown"]
    assert lines[5].startswith("texts of treatment beside control's: cosine 0.")


def test_the_command_shows_it_and_asks_the_judge_if_told_to(
    tmp_path: Path, judging: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`rollout NAME shadow`, in words and in JSON, with --judge and its limit; status has the same figures."""
    place = tmp_path / "log.db"
    log = open_log(place)
    register_ungated(log)
    texts = open_texts(place)
    worded(JUDGED, log, texts, expires=4e9)
    texts.close()
    log.close()
    monkeypatch.setenv("EQUIPOISE_BASE_URL", judging)

    def said(*words: str) -> Any:
        result = CliRunner().invoke(app, ["rollout", "bot", *words, "--log", str(place)])
        if result.exception is not None:
            raise result.exception
        return result.stdout

    found = orjson.loads(said("shadow", "--json"))
    assert found["turns"] == {"treatment": 41}
    assert (found["says"], found["judged"]) == (NO_USERS, None)
    standing = orjson.loads(said("status", "--json"))
    assert standing["shadow"]["effects"] == found["effects"]
    assert standing["ahead"]["stage"] == "canary"
    assert [each["because"] for each in standing["ahead"]["blocks"]] == [
        "the offline gate has not been run for this definition",
        "treatment has 41 of the 50 turns in shadow that are asked for",
    ]
    assert standing["ahead"]["command"] == 'equipoise rollout bot enter canary --reason "…"'
    judged = orjson.loads(said("shadow", "--judge", "5", "--json"))["judged"]
    found = judged["by_arm"]["treatment"]
    assert (found["judge"], found["wins"] + found["ties"]) == ("j", 5)
    assert "won" in said("shadow", "--judge", "5", "--max-cost", "0.5")
    with pytest.raises(UsageError) as refused:
        said("pause", "--judge", "5")
    assert str(refused.value) == "--judge belongs to shadow, and this is pause"
