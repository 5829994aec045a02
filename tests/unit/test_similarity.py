"""Similarities as evaluators: what scores, what does not and why; with a real endpoint for vectors."""

from __future__ import annotations

import asyncio
import math
import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.errors import OutOfReachError, UpstreamError, UsageError
from equipoise.experiment.evaluators import Declared
from equipoise.providers.embeddings import OpenAIEmbeddings
from equipoise.providers.hashed import hashed_vector
from equipoise.providers.messages import Embedded, Usage
from equipoise.providers.simulated import SimulatedAnswer, SimulatedEndpoint
from equipoise.scoring.evaluating import Subject
from equipoise.scoring.evaluators import Tools, build
from equipoise.scoring.greedy_matching import greedy_match, pieces_of
from equipoise.scoring.ngrams import ngram_cosine
from equipoise.scoring.overlap import bleu, chrf, rouge
from equipoise.scoring.vectors import Vectors
from equipoise.stats.estimate import NotEstimable

ANSWER = "Your refund takes five days. Ask us anything."
REFERENCE = "The refund takes five days."
TEXTS = st.text(alphabet="ab c", max_size=12)


def scored(declared, answer=ANSWER, reference=REFERENCE, tools=None):
    evaluator = build(declared, tools or Tools())
    return asyncio.run(evaluator.score(Subject(answer=answer, reference=reference)))[declared.name]


class Counting:
    """An Embedder without a wire: it says what it was asked, and fails where it is told to."""

    def __init__(self, vectors=hashed_vector, fails=None, counted=1):
        self.asked, self.vectors, self.fails = [], vectors, fails
        self.usage = None if counted is None else Usage(counted, 0)

    async def embed(self, model, texts):
        self.asked.append(list(texts))
        await asyncio.sleep(0.01)
        if self.fails:
            raise self.fails
        return Embedded(vectors=tuple(tuple(self.vectors(t)) for t in texts), model=model, usage=self.usage)


def with_vectors(rule, embedder, **more):
    declared = Declared(name="near", rule=rule, argument={"model": "m", **more})
    return build(declared, Tools(embedder=lambda url, key: embedder))


def slow_cosine(text, reference, pieces, n):
    """The definition, over every n-gram that either text holds."""

    def counts(of):
        units = pieces(of)
        return (
            Counter(tuple(units[i : i + n]) for i in range(len(units) - n + 1))
            if len(units) >= n
            else (Counter([tuple(units)]) if units else Counter())
        )

    a, b = counts(text), counts(reference)
    grams = {*a, *b}
    dot = sum(a[gram] * b[gram] for gram in grams)
    lengths = math.sqrt(sum(v * v for v in a.values())) * math.sqrt(sum(v * v for v in b.values()))
    return dot / lengths if lengths else 0.0


@given(TEXTS, TEXTS.filter(str.strip), st.integers(1, 4))
def test_the_cosine_is_that_of_its_definition(text, reference, n):
    """Beside a slow twin, for characters and words; symmetric, within [0, 1], 1 with itself."""
    for of, pieces in (("characters", lambda t: list(" ".join(t.split()))), ("words", str.split)):
        found = ngram_cosine(text, reference, of=of, n=n)
        assert found == pytest.approx(slow_cosine(text, reference, pieces, n), abs=1e-12)
        assert 0.0 <= found <= 1.0
        assert ngram_cosine(reference, reference, of=of, n=n) == 1.0
        if text.strip():
            assert ngram_cosine(reference, text, of=of, n=n) == found


def test_the_cosine_by_hand():
    """Three pairs of letters against two: 'ab', 'bc' shared; 2 / √(3 × 2)."""
    assert ngram_cosine("abcd", "abc", n=2) == pytest.approx(2 / math.sqrt(6))
    assert ngram_cosine("Straße", "STRASSE") == 1.0
    assert ngram_cosine("no", "no", n=5) == 1.0
    assert ngram_cosine("", "a") == 0.0
    assert ngram_cosine("a", "!?", of="words") == NotEstimable("the reference holds no words")


@pytest.mark.parametrize(
    "more, words",
    [
        ({"of": "bytes"}, "of must be one of characters, words, not 'bytes'"),
        ({"n": 0}, "n must be at least 1, not 0"),
    ],
)
def test_a_cosine_of_something_else_is_refused(more, words):
    """The message says what would be accepted."""
    with pytest.raises(UsageError) as caught:
        ngram_cosine("a", "b", **more)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    "rule, argument, wanted",
    [
        ("cosine", True, lambda: ngram_cosine(ANSWER, REFERENCE)),
        ("cosine", {"of": "words", "n": 2}, lambda: ngram_cosine(ANSWER, REFERENCE, of="words", n=2)),
        ("bleu", True, lambda: bleu(ANSWER, [REFERENCE])),
        ("chrf", True, lambda: chrf(ANSWER, [REFERENCE])),
        ("rouge", True, lambda: rouge(ANSWER, [REFERENCE])),
        ("rouge", "rouge2", lambda: rouge(ANSWER, [REFERENCE], "rouge2")),
    ],
)
def test_a_declared_similarity_gives_that_number(rule, argument, wanted):
    """The evaluator adds a bar and a warning, and changes no number."""
    declared = Declared(name="near", rule=rule, argument=argument, threshold=0.99)
    score = scored(declared)
    assert (score.value, score.passed, score.cost_usd) == (wanted(), False, 0.0)
    assert scored(declared, answer=REFERENCE).passed
    evaluator = build(declared, Tools())
    assert (evaluator.kind, evaluator.measures, evaluator.revision) == ("similarity", ("near",), 1)
    assert "punishes paraphrase" in evaluator.caution


@pytest.mark.parametrize("rule", ["cosine", "bleu", "chrf", "rouge"])
def test_what_has_no_reference_is_unscored(rule):
    """None, and a reference that holds nothing: a reason and never a 0."""
    declared = Declared(name="near", rule=rule)
    assert scored(declared, reference=None).why_not == "the case has no reference"
    score = scored(declared, reference=" ")
    assert (score.value, score.errored) == (None, False)
    assert score.why_not.startswith("the reference holds no ")


def test_two_configurations_have_two_digests():
    """Argument, revision, bar and negation tell; the name and where the key comes from do not."""
    configurations = [
        {}, {"argument": {"of": "words"}}, {"argument": {"n": 4}}, {"revision": 2}, {"threshold": 0.5}, {"negated": True},
    ]  # fmt: skip
    digests = {build(Declared(name="a", rule="cosine", **each), Tools()).digest for each in configurations}
    assert len(digests) == len(configurations)
    assert build(Declared(name="b", rule="cosine"), Tools()).digest in digests
    vectors = [{}, {"key_env": "OTHER"}, {"base_url": "http://h/v1"}]
    assert len({with_vectors("embedding", Counting(), **each).digest for each in vectors}) == 2
    greedy = [{}, {"of": "words"}]
    assert len({with_vectors("greedy_match", Counting(), **each).digest for each in greedy}) == 2


def test_a_hostile_answer_takes_no_time_in_the_square():
    """ROUGE-L refuses a table it could not fill; everything else takes a long text as it is."""
    long = "days " * 40_000
    score = scored(Declared(name="near", rule="rouge"), answer=long, reference="refund " * 400)
    assert (
        score.why_not == "answer and reference are too long for rougeL; rouge1 and rouge2 have no such limit"
    )
    assert scored(Declared(name="near", rule="rouge", argument="rouge1"), answer=long).value is not None
    assert scored(Declared(name="near", rule="cosine"), answer=long).value is not None
    assert len(pieces_of(" " * 200_000 + "." * 200_000 + "\n" * 200_000, "sentences")) == 1
    assert pieces_of("a'" * 200_000, "words") != ()


def test_embeddings_are_compared_over_a_real_endpoint():
    """The cosine of what the endpoint gave; the same text is asked once, and what it cost is not known."""

    async def run():
        endpoint = SimulatedEndpoint(lambda body: SimulatedAnswer())
        async with endpoint as url, OpenAIEmbeddings(url, rng=random.Random(1)) as embeddings:
            opened = []

            def embedder(base_url, key_env):
                opened.append((base_url, key_env))
                return embeddings

            declared = Declared(name="near", rule="embedding", argument={"model": "m"}, threshold=0.5)
            evaluator = build(declared, Tools(embedder=embedder))
            subjects = [Subject(answer=ANSWER, reference=REFERENCE)] * 5
            scores = await asyncio.gather(*(evaluator.score(each) for each in subjects))
            later = await evaluator.score(subjects[0])
            return (
                opened,
                endpoint.embedded,
                [each["near"] for each in [*scores, later]],
                evaluator.vectors.usage,
            )

    opened, texts, scores, usage = asyncio.run(run())
    assert opened == [(None, "OPENAI_API_KEY")]
    assert texts == 2
    wanted = sum(a * b for a, b in zip(hashed_vector(ANSWER), hashed_vector(REFERENCE), strict=True))
    assert all(score.value == pytest.approx(wanted) and score.passed for score in scores)
    assert (scores[0].cost_usd, scores[-1].cost_usd) == (None, 0.0)
    assert usage == Usage(math.ceil(len(ANSWER) / 4) + math.ceil(len(REFERENCE) / 4), 0)


def test_an_endpoint_that_fails_is_an_error_and_is_asked_again():
    """One request's failure is `errored`; what ends a run passes through."""
    failing = Counting(fails=UpstreamError("host answered 500, asked 5 times"))
    evaluator = with_vectors("embedding", failing)
    subject = Subject(answer=ANSWER, reference=REFERENCE)
    score = asyncio.run(evaluator.score(subject))["near"]
    assert (score.value, score.errored, score.why_not) == (None, True, "host answered 500, asked 5 times")
    failing.fails = OutOfReachError("stopped")
    with pytest.raises(OutOfReachError):
        asyncio.run(evaluator.score(subject))
    failing.fails = None
    assert asyncio.run(evaluator.score(subject))["near"].value is not None
    assert len(failing.asked) == 3


def test_vectors_that_mean_nothing_are_not_scored():
    """A vector of length 0 has no direction, and vectors of two lengths are of two models."""
    subject = Subject(answer="a", reference="b")
    zero = with_vectors("embedding", Counting(lambda text: (0.0, 0.0)))
    assert asyncio.run(zero.score(subject))["near"].why_not == (
        "the model gave a vector of length 0, which has no direction"
    )
    zero = with_vectors("greedy_match", Counting(lambda text: (0.0,) if text == "b" else (1.0,)))
    assert asyncio.run(zero.score(subject))["near"].why_not == "the model gave a vector of length 0 for 'b'"
    mixed = with_vectors("embedding", Counting(lambda text: (1.0,) * (1 + (text == "b"))))
    assert asyncio.run(mixed.score(subject))["near"].why_not == (
        "the embeddings of m are not one vector a text, all of one length; see that one model answers for that name"
    )


def test_opposite_texts_score_0_and_empty_ones_ask_nothing():
    """A cosine below 0 counts as 0; an empty answer is 0 without a request, an empty reference unscored."""
    counting = Counting(lambda text: (1.0, 0.0) if text == "yes" else (-1.0, 0.0))
    for rule, empty in (
        ("embedding", "the answer is empty"),
        ("greedy_match", "the answer holds no sentences"),
    ):
        evaluator = with_vectors(rule, counting)

        def score(answer, reference, evaluator=evaluator):
            return asyncio.run(evaluator.score(Subject(answer=answer, reference=reference)))["near"]

        assert score("yes", "no").value == 0.0
        asked = len(counting.asked)
        assert (score(" ", "no").value, score(" ", "no").explanation) == (0.0, empty)
        assert score("yes", " ").why_not in ("the reference is empty", "the reference holds no sentences")
        assert score("yes", None).why_not == "the case has no reference"
        assert len(counting.asked) == asked


def test_whoever_gives_up_waiting_spoils_nothing_for_others():
    """Two wait for one text, one is cancelled: the other gets its vector, asked for once."""

    async def run():
        counting = Counting()
        vectors = Vectors(counting, "m")
        first = asyncio.ensure_future(vectors.of(["a"]))
        second = asyncio.ensure_future(vectors.of(["a", "b"]))
        await asyncio.sleep(0)
        first.cancel()
        found, asked = await second
        return len(found), asked, counting.asked, vectors.usage

    assert asyncio.run(run()) == (2, True, [["a"], ["b"]], Usage(2, 0))


def test_tokens_that_were_not_counted_are_not_known():
    """One reply without a usage makes the sum unknown, and not smaller."""
    vectors = Vectors(Counting(counted=None), "m")
    asyncio.run(vectors.of(["a"]))
    assert vectors.usage is None


def test_greedy_matching_by_hand():
    """R is the mean of the best for each of the reference's pieces, P for each of the answer's."""
    answer, reference = [(1.0, 0.0), (0.0, 1.0)], [(0.6, 0.8)]
    match = greedy_match(answer, reference)
    assert (match.precision, match.recall) == (pytest.approx(0.7), pytest.approx(0.8))
    assert match.f1 == pytest.approx(2 * 0.7 * 0.8 / 1.5)
    swapped = greedy_match(reference, answer)
    assert (swapped.precision, swapped.recall) == (match.recall, match.precision)
    none = greedy_match([(1.0, 0.0)], [(-1.0, 0.0)])
    assert (none.precision, none.recall, none.f1) == (0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="at least one piece"):
        greedy_match([], reference)


@given(
    st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=700),
    st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=8),
)
def test_greedy_matching_is_that_of_its_equations(said, wanted):
    """Beside a twin that takes every pair, one by one, over more pieces than a block holds."""
    a, r = [hashed_vector(x, 8) for x in said], [hashed_vector(x, 8) for x in wanted]

    def dot(x, y):
        return sum(map(float.__mul__, x, y))

    precision = max(0.0, sum(max(dot(x, y) for y in r) for x in a) / len(a))
    recall = max(0.0, sum(max(dot(x, y) for x in a) for y in r) / len(r))
    match = greedy_match(a, r)
    assert match.precision == pytest.approx(precision, abs=1e-9)
    assert match.recall == pytest.approx(recall, abs=1e-9)
    total = precision + recall
    assert match.f1 == pytest.approx(2 * precision * recall / total if total else 0.0, abs=1e-9)


def test_greedy_matching_scores_words_or_sentences():
    """What the answer says besides costs precision and not recall."""
    for of in ("words", "sentences"):
        evaluator = with_vectors("greedy_match", Counting(), of=of)
        answer = REFERENCE + " Bonjour à tous!"
        score = asyncio.run(evaluator.score(Subject(answer=answer, reference=REFERENCE)))["near"]
        found = re.fullmatch(r"precision (\d\.\d\d), recall 1\.00", score.explanation)
        assert found
        assert float(found[1]) < 0.9
        same = asyncio.run(evaluator.score(Subject(answer=REFERENCE, reference=REFERENCE)))["near"]
        assert same.value == pytest.approx(1.0)
    long = Subject(answer="word " * 5_001, reference=REFERENCE)
    evaluator = with_vectors("greedy_match", Counting(), of="words")
    assert asyncio.run(evaluator.score(long))["near"].why_not == "there are more than 5,000 words to match"


def test_embeddings_that_nobody_may_be_asked_for_are_refused():
    """The message says what would help."""
    with pytest.raises(UsageError) as caught:
        build(Declared(name="near", rule="embedding", argument={"model": "m"}), Tools())
    assert str(caught.value) == (
        "the evaluator 'near' compares embeddings, and no endpoint may be asked for them; give one, or name a model "
        "on this machine: {local: NAME}"
    )
