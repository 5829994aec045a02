"""What several kinds of tests stand on: a run of the arena with everything in it that is hard to show."""

from __future__ import annotations

import gc
import random
from dataclasses import replace
from functools import cache

import httpcore2
import pytest
from hypothesis import settings

from equipoise.arena.deciding import conclude_variants
from equipoise.arena.measuring import MeasureInfo
from equipoise.arena.preferring import prefer
from equipoise.arena.result import Answered, ArenaResult, CaseResult, Settings, Spent, Used
from equipoise.experiment.amount import Amount
from equipoise.experiment.offline import Criterion, Gate, Labels, Recording
from equipoise.providers.messages import Usage
from equipoise.scoring.evaluating import Score, errored, fails, passes, unscored
from equipoise.scoring.pairwise import Comparison

# A law holds or does not, however long an import or a busy machine takes over it.
settings.register_profile("laws", deadline=None)
settings.load_profile("laws")

# Each client reads the certificates of the world, for 20 ms, before it asks an address of this machine, without TLS.
httpcore2.default_ssl_context = cache(httpcore2.default_ssl_context)


def pytest_collection_finish() -> None:
    """The tests and all that they import stay to the end: the collector of garbage need not look at them again."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """At the end it takes down all of them, and libraries that count what is left are content."""
    gc.unfreeze()


EVIL = "<script>document.title='ran'</script> <img src=x onerror=alert(1)> & ```` ` | [x](javascript:y) `"
RIGHT_TO_LEFT = "\u200fשלום, איך אפשר להחזיר את המוצר?"
UNBROKEN = "averylongunbrokenstring" * 40
CONTROL, SHORT, LONG = "control", "brief", "careful-and-thorough-with-a-name-that-goes-on-and-on"
_INFOS = {
    "contains": MeasureInfo(does="rule", bar=True),
    "safety": MeasureInfo(does="rule", bar=True, must_pass=True),
    "clarity": MeasureInfo(does="rubric", top=5),
    "=cost()": MeasureInfo(does="similarity", top=1.0),
}


def _answer(rng: random.Random, number: int, variant: str) -> Answered:
    if number == 5 and variant == SHORT:
        return Answered(text=None, why_not="the endpoint gave no answer within 60 s")
    text = {0: EVIL, 1: RIGHT_TO_LEFT, 2: UNBROKEN}.get(number, f"You have {rng.randrange(14, 90)} days.")
    text += " And here is why, at length." * (9 if variant == LONG else rng.randrange(3))
    return Answered(
        text=text,
        latency_s=rng.random(),
        cost_usd=0.0004,
        usage=Usage(120, 40),
        model="bot-2",
        fingerprint=f"fp{number % 2}" if variant == SHORT else "fp0",
        granted=variant != LONG,
    )


def _scores(rng: random.Random, number: int, variant: str, answer: Answered) -> dict[str, Score]:
    if answer.text is None:
        return {}
    holds = {CONTROL: 0.8, SHORT: 0.85, LONG: 0.6}[variant]
    if number == 7 and variant == LONG:
        safety = fails("an e-mail address at 12")
    else:
        safety = errored("the word list could not be read") if number == 8 else passes()
    clarity = Score(value=float(rng.randrange(3, 6))) if number != 9 else unscored("the reply held no grades")
    return {
        "contains": passes() if rng.random() < holds else fails(f"'30 days' is not in it {EVIL}"),
        "safety": safety,
        "clarity": clarity,
        "=cost()": Score(value=rng.random()),
    }


def _comparison(rng: random.Random, number: int, variant: str) -> Comparison:
    if number == 11:
        return Comparison(score=None, why_not="the judge's reply held no JSON object with a winner")
    chances = (0.6, 0.2, 0.2) if variant == SHORT else (0.3, 0.2, 0.5)
    one, other = rng.choices(["treatment", "tie", "control"], chances, k=2)
    other = one if rng.random() < 0.7 else other
    score = {"treatment": 1.0, "tie": 0.5, "control": 0.0}[one] if one == other else 0.5
    return Comparison(
        score=score, treatment_first=one, control_first=other, reasons=("=It says why\x00 and how. " + EVIL,)
    )


def arena_result(cases: int = 40, samples: int = 2) -> ArenaResult:
    """A run with two treatments, samples, clusters, tags, severities, labels, gaps and hostile text."""
    rng = random.Random(11)
    names = (CONTROL, SHORT, LONG)
    made = []
    for number in range(cases):
        answers = {name: tuple(_answer(rng, number, name) for _ in range(samples)) for name in names}
        made.append(
            CaseResult(
                id={0: EVIL, 1: RIGHT_TO_LEFT, 2: UNBROKEN}.get(number, f"case-{number:03}"),
                asked={0: EVIL, 1: RIGHT_TO_LEFT, 2: UNBROKEN}.get(number, f"May I return it? ({number})"),
                cluster=f"document {number // 4}",
                tags=("returns", "<b>gold</b>") if number % 3 == 0 else ("shipping",),
                severity={0: "critical", 3: "high", 4: "low"}.get(number),
                must_pass=number in (7, 12),
                answers=answers,
                scores={
                    name: tuple(_scores(rng, number, name, answer) for answer in answers[name])
                    for name in names
                },
                comparisons={
                    name: tuple(_comparison(rng, number, name) for _ in range(samples)) for name in names[1:]
                },
                labels={SHORT: rng.choice([0.0, 0.5, 1.0, 1.0])} if number % 2 else {},
            )
        )
    listed = tuple(made)
    rule = Gate(
        criteria=(
            Criterion(of="win_rate", margin=Amount(0.10)),
            Criterion(of="pass_rate", margin=Amount(0.05)),
            Criterion(of="clarity", show="not_worse", worst=0.05),
            Criterion(of="contains", show="superior"),
        ),
        must_pass=("safety",),
        at_most={"critical": 0},
    )
    labels = Labels(
        recording=Recording(file="labels.csv", case="case", variant="variant", value="p"), at_least=15
    )
    preferences = {
        name: prefer(
            listed,
            control=CONTROL,
            treatment=name,
            level=rule.level,
            judge_models=("qwen-max",),
            variant_models={CONTROL: "bot", SHORT: "bot", LONG: "qwen-turbo"},
            labels=labels,
        )
        for name in names[1:]
    }
    variants, gate = conclude_variants(
        listed,
        variants=names,
        infos=_INFOS,
        preferences=preferences,
        rule=rule,
        must_pass=frozenset({"safety"}),
    )
    return ArenaResult(
        experiment="support-bot",
        digest="3" * 64,
        cases_digest="c" * 64,
        cases_origin="cases/<b>golden</b>.jsonl",
        answers_origin="asked",
        samples=samples,
        evaluators=(
            Used(name="pairwise", does="pairwise", how="asked", digest="d" * 64, model="qwen-max"),
            *(
                Used(name=name, does=info.does, how="computed", digest="e" * 64)
                for name, info in _INFOS.items()
            ),
        ),
        variants=tuple(
            _with_settings(variant, [each.answers[variant.name] for each in listed]) for variant in variants
        ),
        cases=listed,
        gate=gate,
        rule=rule,
        seed=11,
        spent=Spent(
            requests=400, input_tokens=48_000, output_tokens=16_000, cost_usd=0.0912, unpriced=("qwen-max",)
        ),
        remarks=("bleu: punishes a paraphrase that says the same",),
        sent=100,
        replayed=300,
    )


def _with_settings(variant, answers):
    given = [answer for samples in answers for answer in samples if answer.text is not None]
    return replace(
        variant,
        settings=Settings(
            asked={"model": "bot", "params": {"temperature": 0}, "system": EVIL},
            models=tuple(sorted({answer.model for answer in given})),
            fingerprints=tuple(sorted({answer.fingerprint for answer in given})),
            seed_granted=all(answer.granted for answer in given),
        ),
    )


@pytest.fixture(scope="session")
def hard_result() -> ArenaResult:
    """The result, 40 cases of it."""
    return arena_result()
