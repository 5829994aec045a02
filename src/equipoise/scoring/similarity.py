"""Similarities: how near an answer comes to the case's reference, from 0 to 1.

Built in are the cosine of n-grams (`cosine`); through libraries `bleu`, `chrf` and `rouge`; through vectors of
a model `embedding` (of the whole texts) and `greedy_match` (of their words or sentences, as BERTScore does).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import compress
from typing import Any

from equipoise.errors import UpstreamError, UsageError
from equipoise.experiment.evaluators import Declared, Kind
from equipoise.providers.local_embeddings import LocalEmbeddings
from equipoise.providers.messages import Embedder
from equipoise.scoring import overlap
from equipoise.scoring.evaluating import Evaluator, Score, Subject, errored, graded, unscored
from equipoise.scoring.evaluators import Tools
from equipoise.scoring.greedy_matching import Pieces, greedy_match, pieces_of
from equipoise.scoring.judging import identity
from equipoise.scoring.ngrams import ngram_cosine
from equipoise.scoring.vectors import Vectors, cosine
from equipoise.stats.estimate import NotEstimable

__all__ = ["SimilarityEvaluator", "build"]

_SHARED_WORDS = (
    "counts what two texts share in spelling and punishes paraphrase: read it beside a judge, and let it never "
    "decide alone"
)
_SAME_SUBJECT = (
    "tells the subject better than the truth: a denial lies near what it denies; read it beside a judge, and let "
    "it never decide alone"
)
_MOST_PIECES = 5_000
_MOST_CELLS = 4_000_000
"""What ROUGE-L may fill of its table: about a second."""

Compare = Callable[[str, str], Awaitable[Score]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarityEvaluator:
    """An Evaluator that compares the answer with the case's reference; without one, it is unscored.

    `caution` says in a sentence what its number does not tell. `vectors` holds what was asked for, with the
    tokens that were counted, where a model's vectors are compared.
    """

    declared: Declared
    digest: str
    compare: Compare
    caution: str
    vectors: Vectors | None = None

    @property
    def name(self) -> str:
        return self.declared.name

    @property
    def kind(self) -> Kind:
        return "similarity"

    @property
    def revision(self) -> int:
        return self.declared.revision

    @property
    def measures(self) -> tuple[str, ...]:
        return (self.declared.name,)

    async def score(self, subject: Subject) -> Mapping[str, Score]:
        """The similarity, in [0, 1]; what is held against it is the declared threshold."""
        if subject.reference is None:
            return {self.name: unscored("the case has no reference")}
        try:
            score = await self.compare(subject.answer, subject.reference)
        except UpstreamError as error:
            score = errored(str(error), cost_usd=None)
        return {self.name: graded(score, self.declared)}


def build(declared: Declared, tools: Tools) -> Evaluator:
    """The similarity that is declared.

    Raises UsageError where embeddings are wanted and cannot be asked for, MissingExtraError where a library
    is not installed.

    >>> import asyncio
    >>> close = build(Declared(name="close", rule="cosine", threshold=0.6), Tools())
    >>> subject = Subject(answer="A refund takes 5 days", reference="A refund takes five days")
    >>> score = asyncio.run(close.score(subject))["close"]
    >>> round(score.value, 4), score.passed
    (0.7826, True)
    """
    argument = declared.argument if isinstance(declared.argument, Mapping) else {}
    if declared.rule in ("embedding", "greedy_match"):
        return _by_vectors(declared, argument, tools)
    measure = _measure(declared, argument)
    # A missing library is told now, and not at the first answer.
    measure("a b", "a b")
    return SimilarityEvaluator(
        declared=declared,
        digest=_digest(declared, declared.argument),
        compare=partial(_computed, measure),
        caution=_SHARED_WORDS,
    )


def _measure(declared: Declared, argument: Mapping[str, Any]) -> Callable[[str, str], float | NotEstimable]:
    rule = declared.rule
    if rule == "cosine":
        return partial(ngram_cosine, of=argument.get("of", "characters"), n=argument.get("n"))
    if rule == "bleu":
        return lambda text, reference: overlap.bleu(text, [reference])
    if rule == "chrf":
        return lambda text, reference: overlap.chrf(text, [reference])
    kind: overlap.Rouge = "rougeL" if declared.argument is True else declared.argument
    return partial(_rouge, kind)


def _rouge(kind: overlap.Rouge, text: str, reference: str) -> float | NotEstimable:
    # The longest common subsequence takes time in the product of the lengths, and an answer may be any length.
    cells = (len(text) // 2 + 1) * (len(reference) // 2 + 1)
    if kind == "rougeL" and cells > _MOST_CELLS and len(text.split()) * len(reference.split()) > _MOST_CELLS:
        return NotEstimable(
            "answer and reference are too long for rougeL; rouge1 and rouge2 have no such limit"
        )
    return overlap.rouge(text, [reference], kind)


async def _computed(measure: Callable[[str, str], float | NotEstimable], text: str, reference: str) -> Score:
    found = measure(text, reference)
    return unscored(found.reason) if isinstance(found, NotEstimable) else Score(value=found)


def _by_vectors(declared: Declared, argument: Mapping[str, Any], tools: Tools) -> Evaluator:
    model = str(argument.get("model", argument.get("local", "")))
    embedder, configuration, priced = _embedder(declared.name, argument, tools)
    vectors = Vectors(embedder, model)
    of: Pieces = argument.get("of", "sentences")
    compare: Compare
    if declared.rule == "embedding":
        compare = partial(_whole, vectors, priced)
    else:
        greedy_match([(1.0,)], [(1.0,)])  # a missing library is told now
        compare = partial(_greedy, vectors, priced, of)
        configuration |= {"of": of}
    return SimilarityEvaluator(
        declared=declared,
        digest=_digest(declared, configuration),
        compare=compare,
        caution=_SAME_SUBJECT,
        vectors=vectors,
    )


def _embedder(name: str, argument: Mapping[str, Any], tools: Tools) -> tuple[Embedder, dict[str, Any], bool]:
    """Where vectors come from, what of it is configuration, and whether they may cost something."""
    if "local" in argument:
        local = LocalEmbeddings(str(argument["local"]), folder=tools.folder)
        return local, {"local": local.digest}, False
    if tools.embedder is None:
        raise UsageError(
            f"the evaluator '{name}' compares embeddings, and no endpoint may be asked for them; give one, or "
            "name a model on this machine: {local: NAME}"
        )
    base_url = argument.get("base_url")
    embedder = tools.embedder(base_url, str(argument.get("key_env", "OPENAI_API_KEY")))
    return embedder, {"model": argument["model"], "base_url": base_url}, True


async def _whole(vectors: Vectors, priced: bool, text: str, reference: str) -> Score:
    """The cosine of the vectors of both texts; below 0 it counts as 0."""
    if not reference.strip():
        return unscored("the reference is empty")
    if not text.strip():
        return Score(value=0.0, explanation="the answer is empty")
    (said, wanted), asked = await vectors.of([text, reference])
    cost = None if asked and priced else 0.0
    if not said or not wanted:
        return unscored("the model gave a vector of length 0, which has no direction", cost_usd=cost)
    return Score(value=min(1.0, max(0.0, cosine(said, wanted))), cost_usd=cost)


async def _greedy(vectors: Vectors, priced: bool, of: Pieces, text: str, reference: str) -> Score:
    said, wanted = pieces_of(text, of), pieces_of(reference, of)
    if not wanted:
        return unscored(f"the reference holds no {of}")
    if not said:
        return Score(value=0.0, explanation=f"the answer holds no {of}")
    if max(len(said), len(wanted)) > _MOST_PIECES:
        return unscored(f"there are more than {_MOST_PIECES:,} {of} to match")
    found, asked = await vectors.of([*said, *wanted])
    cost = None if asked and priced else 0.0
    if not all(found):
        piece = next(compress([*said, *wanted], (not vector for vector in found)))
        return unscored(f"the model gave a vector of length 0 for {piece[:40]!r}", cost_usd=cost)
    match = greedy_match(found[: len(said)], found[len(said) :])
    return Score(
        value=match.f1,
        explanation=f"precision {match.precision:.2f}, recall {match.recall:.2f}",
        cost_usd=cost,
    )


def _digest(declared: Declared, configuration: Any) -> str:
    return identity(
        {
            "rule": declared.rule,
            "configuration": configuration,
            "revision": declared.revision,
            "threshold": declared.threshold,
            "negated": declared.negated,
        }
    )
