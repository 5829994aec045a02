"""Shared words: BLEU, chrF and ROUGE of a text against references, for a place beside a judge.

These scores count the words (or strings of characters) that two texts share. They know nothing of meaning: a
right answer in other words scores low, and a wrong one that repeats the reference but for a "not" scores
high. Show them beside a judge or a check of substance, and never let one alone decide at a gate. Compare
them between variants on the same cases only: their level depends on the length, the number and the wording
of the references.

Every score lies in [0, 1], 1 being the most; papers print BLEU and chrF times 100. Text is compared as it
stands, with upper and lower case told apart, except in ROUGE. Needs the extra `similarity`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

from equipoise.errors import MissingExtraError, UsageError
from equipoise.stats.estimate import NotEstimable

__all__ = ["Rouge", "bleu", "chrf", "corpus_bleu", "corpus_chrf", "rouge"]

Rouge = Literal["rougeL", "rouge1", "rouge2"]

_EXTRA = "similarity"
_BLEU_ORDER = 4


def bleu(text: str, references: Sequence[str]) -> float | NotEstimable:
    """Sentence BLEU: the geometric mean of the shares of the text's 1- to 4-grams that stand in a reference.

    Counts shared words and punishes paraphrase: it belongs beside a judge, and never alone in a gate. Papers
    do not average it; the number to compare with theirs is `corpus_bleu`.

    Scale: [0, 1]. Settings, in sacrebleu's signature: case:mixed|eff:yes|tok:13a|smooth:exp. Words are those
    of the tokeniser 13a, made for languages that put spaces between words; for Chinese, Japanese or Thai use
    `chrf`. An n-gram counts as often as in the reference that has it most; a text shorter than the
    reference nearest in length is marked down by exp(1 − r/c). Smoothing: the k-th order without a match
    counts as 1 / (2^k × its n-grams), and orders longer than the text are left out, so a short text gets a
    number; with no word shared the score is 0 without smoothing.

    Degenerate cases: an empty text scores 0; not estimable with no reference, or with one that holds no word.
    Errors: UsageError where `references` is a single string or holds anything but strings;
    MissingExtraError.
    Source: Papineni, Roukos, Ward & Zhu (2002), BLEU (ACL P02-1040), section 2.3; Chen & Cherry (2014), A
    Systematic Comparison of Smoothing Techniques for Sentence-Level BLEU (W14-3346), smoothing 3; Post (2018),
    A Call for Clarity in Reporting BLEU Scores (W18-6319).

    >>> bleu("The refund takes five days.", ["The refund takes five days."])
    1.0
    >>> round(bleu("The refund takes ten days.", ["The refund takes five days."]), 4)
    0.3799
    >>> round(bleu("You get your money back within a week.", ["The refund takes five days."]), 4)
    0.0477
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ModuleNotFoundError as error:
        raise MissingExtraError("BLEU", _EXTRA) from error
    metric = BLEU(effective_order=True)
    lacking = _lacking(_case(text, references), lambda words: len(metric.tokenizer(words).split()), "no word")
    return lacking or _share(metric.sentence_score(text, list(references)).score)


def chrf(text: str, references: Sequence[str]) -> float | NotEstimable:
    """Sentence chrF: F₂ of the shares of 1- to 6-character strings that the text and a reference have in common.

    Counts shared spelling and punishes paraphrase: it belongs beside a judge, and never alone in a gate. It
    forgives inflection more than BLEU does and needs no words, so it suits every script. Two unrelated texts
    of one language share letters, and so seldom score 0.

    Scale: [0, 1]. Settings, in sacrebleu's signature: case:mixed|eff:yes|nc:6|nw:0|space:no. White space is
    dropped, no words are counted, β = 2 gives recall twice precision's weight, nothing is smoothed, and
    orders longer than either text are left out. Precision and recall are averaged over the orders, and F
    is taken of the averages. Of several references, the one with the highest F counts.

    Degenerate cases: an empty text scores 0; not estimable with no reference, or with one that is empty or
    white space. Errors: those of `bleu`.
    Source: Popović (2015), chrF (W15-3049), eq. (1); Popović (2016), chrF deconstructed (W16-2341), for β = 2.

    >>> chrf("Rückerstattung", ["Rückerstattung"])
    1.0
    >>> round(chrf("The refunds take five days.", ["The refund takes five days."]), 4)
    0.7077
    """
    try:
        from sacrebleu.metrics.chrf import CHRF
    except ModuleNotFoundError as error:
        raise MissingExtraError("chrF", _EXTRA) from error
    lacking = _lacking(_case(text, references), _characters, "no character")
    return lacking or _share(CHRF().sentence_score(text, list(references)).score)


def rouge(text: str, references: Sequence[str], kind: Rouge = "rougeL") -> float | NotEstimable:
    """ROUGE: F₁ of the words (`rouge1`), pairs of words (`rouge2`) or longest common subsequence (`rougeL`).

    Counts shared words and punishes paraphrase: it belongs beside a judge, and never alone in a gate.

    Scale: [0, 1]. Settings: rouge-score's own tokeniser, which lowers the case and takes runs of a–z and 0–9
    for words, so that "café" is the word "caf" and other scripts hold no word at all (use `chrf`); no
    stemming; precision and recall of equal weight, where Lin's ROUGE-N is the recall alone. The whole text
    is one sequence: `rougeL` is the sentence-level form, not rougeLsum. Of several references, the one with
    the highest F counts, without Lin's jackknife. `rougeL` takes time in the product of both lengths.

    Degenerate cases: a text without words scores 0; not estimable with no reference, or with one that holds
    no word (for `rouge2`, fewer than two). Errors: UsageError for an unknown kind, and those of `bleu`.
    Source: Lin (2004), ROUGE (W04-1013), eq. (1) for ROUGE-N and eqs. (2) to (4) with β = 1 for ROUGE-L.

    >>> rouge("police kill the gunman", ["police killed the gunman"])
    0.75
    >>> rouge("the gunman kill police", ["police killed the gunman"])
    0.5
    >>> rouge("Привет", ["Привет"])
    NotEstimable(reason='the reference holds no word of a–z or 0–9')
    """
    if kind not in get_args(Rouge):
        raise UsageError(f"kind must be one of {', '.join(get_args(Rouge))}, not {kind!r}")
    try:
        from rouge_score.rouge_scorer import RougeScorer
        from rouge_score.tokenizers import DefaultTokenizer
    except ModuleNotFoundError as error:
        raise MissingExtraError("ROUGE", _EXTRA) from error
    # Without the stemmer nltk is imported and not used, and nothing is downloaded.
    tokenizer = DefaultTokenizer(use_stemmer=False)
    lacking = _lacking(
        _case(text, references),
        lambda words: len(tokenizer.tokenize(words)),
        f"{'fewer than two words' if kind == 'rouge2' else 'no word'} of a–z or 0–9",
        least=2 if kind == "rouge2" else 1,
    )
    if lacking:
        return lacking
    scorer = RougeScorer([kind], tokenizer=tokenizer)
    return _share(100 * scorer.score_multi(list(references), text)[kind].fmeasure)


def corpus_bleu(texts: Sequence[str], references: Sequence[Sequence[str]]) -> float | NotEstimable:
    """Corpus BLEU: the matches and n-grams of all texts are added up before any share is taken.

    `references[i]` are those of `texts[i]`; their number may differ. This is the BLEU of papers, and not the
    mean of `bleu`. It is one number without a spread: for an interval, resample cases. Counts shared words and
    punishes paraphrase: it belongs beside a judge, and never alone in a gate.

    Scale: [0, 1]. Settings, in sacrebleu's signature: case:mixed|eff:no|tok:13a|smooth:exp. As `bleu`, but
    all four orders always count: where no text has four words, the score is 0.

    Degenerate cases: not estimable with no texts, where a text has no reference or one without a word, or
    where no reference of any text has four words. Errors: UsageError for lists of different lengths, and
    those of `bleu`. Source: that of `bleu`.

    >>> texts = ["The refund takes five days.", "Please ask again."]
    >>> round(corpus_bleu(texts, [["The refund takes five days."], ["Please try again."]]), 4)
    0.7622
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ModuleNotFoundError as error:
        raise MissingExtraError("BLEU", _EXTRA) from error
    # `force` only silences a warning about texts that end in " .".
    metric = BLEU(effective_order=False, force=True)

    def words(of: str) -> int:
        return len(metric.tokenizer(of).split())

    cases = _corpus(texts, references)
    lacking = _lacking_in_corpus(cases, words, "no word")
    if lacking:
        return lacking
    if not any(words(reference) >= _BLEU_ORDER for _, given in cases for reference in given):
        return NotEstimable(
            f"no reference of any text has {_BLEU_ORDER} words, and BLEU counts {_BLEU_ORDER}-grams"
        )
    return _share(metric.corpus_score(list(texts), _streams(references)).score)


def corpus_chrf(texts: Sequence[str], references: Sequence[Sequence[str]]) -> float | NotEstimable:
    """Corpus chrF: the matches and strings of all texts, each with its best reference, are added up first.

    `references[i]` are those of `texts[i]`; their number may differ. One number without a spread: for an
    interval, resample cases. Counts shared spelling and punishes paraphrase: it belongs beside a judge, and
    never alone in a gate.

    Scale and settings are those of `chrf`. Degenerate cases: not estimable with no texts, or where a text
    has no reference or an empty one. Errors: those of `corpus_bleu`. Source: that of `chrf`.

    >>> texts = ["The refund takes five days.", "Please ask again."]
    >>> round(corpus_chrf(texts, [["The refund takes five days."], ["Please try again."]]), 4)
    0.8261
    """
    try:
        from sacrebleu.metrics.chrf import CHRF
    except ModuleNotFoundError as error:
        raise MissingExtraError("chrF", _EXTRA) from error
    lacking = _lacking_in_corpus(_corpus(texts, references), _characters, "no character")
    return lacking or _share(CHRF().corpus_score(list(texts), _streams(references)).score)


def _share(percent: float) -> float:
    # A geometric mean of hundreds may come out a rounding above 100, and BLEU's 0 as exp of a huge negative.
    return min(1.0, max(0.0, float(percent) / 100))


def _characters(text: str) -> int:
    return len("".join(text.split()))


def _case(text: str, references: Sequence[str]) -> Sequence[str]:
    if not isinstance(text, str):
        raise UsageError(f"the text must be a string, not {type(text).__name__}")
    if isinstance(references, str) or not all(isinstance(reference, str) for reference in references):
        raise UsageError("references must be a list of strings; put a single reference in a list")
    return references


def _lacking(
    references: Sequence[str], count: Callable[[str], int], lack: str, *, least: int = 1
) -> NotEstimable | None:
    """Why there is nothing to compare with, or None."""
    if not references:
        return NotEstimable("there is no reference")
    for at, reference in enumerate(references, 1):
        if count(reference) < least:
            which = "the reference" if len(references) == 1 else f"reference {at} of {len(references)}"
            return NotEstimable(f"{which} holds {lack}")
    return None


def _corpus(texts: Sequence[str], references: Sequence[Sequence[str]]) -> Sequence[tuple[str, Sequence[str]]]:
    if isinstance(texts, str) or isinstance(references, str):
        raise UsageError("texts must be a list of strings, and references a list of such lists")
    if len(texts) != len(references):
        raise UsageError(f"each text needs its references, but there are {len(texts)} and {len(references)}")
    return [(text, _case(text, given)) for text, given in zip(texts, references, strict=True)]


def _lacking_in_corpus(
    cases: Sequence[tuple[str, Sequence[str]]], count: Callable[[str], int], lack: str
) -> NotEstimable | None:
    if not cases:
        return NotEstimable("there are no texts")
    for at, (_, given) in enumerate(cases, 1):
        lacking = _lacking(given, count, lack)
        if lacking:
            return NotEstimable(f"text {at} of {len(cases)}: {lacking.reason}")
    return None


def _streams(references: Sequence[Sequence[str]]) -> list[list[Any]]:
    """As sacrebleu reads them: the first reference of every text, then every second one, None where there is none."""
    most = max(map(len, references))
    return [[given[at] if at < len(given) else None for given in references] for at in range(most)]
