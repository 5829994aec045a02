"""BLEU, chrF and ROUGE: beside slow twins written from the papers, and the examples the papers and libraries print."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.errors import MissingExtraError, UsageError
from equipoise.scoring.overlap import bleu, chrf, corpus_bleu, corpus_chrf, rouge
from equipoise.stats.estimate import NotEstimable

# Lower-case words with nothing that a tokeniser could take apart: every twin may split at spaces.
WORDS = st.lists(
    st.sampled_from(["the", "a", "dog", "cat", "sat", "on", "mat", "refund", "days", "is"]),
    min_size=1,
    max_size=9,
)
SENTENCES = WORDS.map(" ".join)
LONGER = st.lists(st.sampled_from(["the", "dog", "sat", "on", "mat"]), min_size=4, max_size=12).map(" ".join)
SYSTEM = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
REFERENCES = [
    ["The dog bit the man.", "The dog had bit the man."],
    ["It was not unexpected.", "No one was surprised."],
    ["The man bit him first.", "The man had bitten the dog."],
]


def grams(units: Any, n: int) -> Counter[Any]:
    return Counter(units[i : i + n] for i in range(len(units) - n + 1))


def longest_common(a: list[str], b: list[str]) -> int:
    """By its definition, one word at a time, remembering what was asked before."""
    known: dict[tuple[int, int], int] = {}

    def of(i: int, j: int) -> int:
        if i == len(a) or j == len(b):
            return 0
        if (i, j) not in known:
            known[i, j] = 1 + of(i + 1, j + 1) if a[i] == b[j] else max(of(i + 1, j), of(i, j + 1))
        return known[i, j]

    return of(0, 0)


def f1(shared: int, of_text: int, of_reference: int) -> float:
    return 2 * shared / (of_text + of_reference)


def twin_rouge_l(text: str, references: list[str]) -> float:
    said = text.split()
    return max(f1(longest_common(said, r.split()), len(said), len(r.split())) for r in references)


def twin_rouge_n(text: str, references: list[str], n: int) -> float:
    said = grams(tuple(text.split()), n)
    wanted = [grams(tuple(r.split()), n) for r in references]
    return max(f1((said & w).total(), said.total(), w.total()) for w in wanted)


def chrf_counts(text: str, reference: str) -> list[tuple[int, int, int]]:
    """Of each order that both texts have: strings shared, in the text, in the reference."""
    a, b = text.replace(" ", ""), reference.replace(" ", "")
    orders = range(1, min(6, len(a), len(b)) + 1)
    return [((grams(a, n) & grams(b, n)).total(), grams(a, n).total(), grams(b, n).total()) for n in orders]


def twin_chrf(text: str, reference: str) -> float:
    """Popović (2015), eq. (1), β = 2, on precision and recall averaged over the orders."""
    counts = chrf_counts(text, reference)
    precision = sum(shared / mine for shared, mine, _ in counts) / len(counts)
    recall = sum(shared / theirs for shared, _, theirs in counts) / len(counts)
    return 5 * precision * recall / (4 * precision + recall) if precision + recall else 0.0


def bleu_counts(text: str, references: list[str]) -> list[int]:
    """Papineni et al., section 2: four clipped matches, four totals, the length, the nearest reference's."""
    said = tuple(text.split())
    counts = []
    for n in range(1, 5):
        most: Counter[Any] = Counter()
        for reference in references:
            most |= grams(tuple(reference.split()), n)
        counts.append((grams(said, n) & most).total())
    totals = [grams(said, n).total() for n in range(1, 5)]
    nearest = min((abs(len(r.split()) - len(said)), len(r.split())) for r in references)[1]
    return [*counts, *totals, len(said), nearest]


def twin_bleu(counted: list[int], *, short_too: bool) -> float:
    matches, totals, (c, r) = counted[:4], counted[4:8], counted[8:]
    if not any(matches) or (not short_too and 0 in totals):
        return 0.0
    logs, halved = [], 1
    for shared, total in zip(matches, totals, strict=True):
        if total:
            halved *= 1 if shared else 2
            logs.append(math.log((shared or 1 / halved) / total))
    return math.exp(min(0.0, 1 - r / c) + math.fsum(logs) / len(logs))


@given(SENTENCES, st.lists(SENTENCES, min_size=1, max_size=3))
def test_sentences_score_as_the_twins_count(text: str, references: list[str]) -> None:
    near = {"rel": 1e-12, "abs": 1e-12}
    assert bleu(text, references) == pytest.approx(
        twin_bleu(bleu_counts(text, references), short_too=True), **near
    )
    assert chrf(text, references) == pytest.approx(max(twin_chrf(text, r) for r in references), **near)
    assert rouge(text, references) == pytest.approx(twin_rouge_l(text, references), **near)
    assert rouge(text, references, "rouge1") == pytest.approx(twin_rouge_n(text, references, 1), **near)
    if all(len(r.split()) > 1 for r in references):
        assert rouge(text, references, "rouge2") == pytest.approx(twin_rouge_n(text, references, 2), **near)


@given(st.lists(st.tuples(SENTENCES, st.lists(LONGER, min_size=1, max_size=3)), min_size=1, max_size=5))
def test_a_corpus_adds_its_counts_up_before_it_divides(cases: list[tuple[str, list[str]]]) -> None:
    """References differ in number from text to text."""
    texts, references = [text for text, _ in cases], [given for _, given in cases]
    summed = [sum(column) for column in zip(*(bleu_counts(*case) for case in cases), strict=True)]
    assert corpus_bleu(texts, references) == pytest.approx(
        twin_bleu(summed, short_too=False), rel=1e-12, abs=1e-12
    )


def test_chrf_by_hand() -> None:
    """'abc' against 'abd': 2 of 3 letters and 1 of 2 pairs shared, no triple; P = R = F = (2/3 + 1/2 + 0) / 3."""
    assert chrf("abc", ["abd"]) == pytest.approx(7 / 18, abs=1e-15)
    # 'ab' has two orders: P = (1 + 1) / 2, R = (2/4 + 1/3) / 2 = 5/12, and F = 5 P R / (4 P + R) = 25/53.
    assert chrf("a b", ["abcd"]) == pytest.approx(25 / 53, abs=1e-15)
    # A corpus adds up: twice the same case changes nothing; 'x' against 'y' adds a letter to each text.
    assert corpus_chrf(["ab", "ab"], [["abcd"], ["abcd"]]) == pytest.approx(25 / 53, abs=1e-15)
    p, r = (2 / 3 + 1) / 2, (2 / 5 + 1 / 3) / 2
    assert corpus_chrf(["ab", "x"], [["abcd"], ["y"]]) == pytest.approx(5 * p * r / (4 * p + r), abs=1e-15)


def test_bleu_by_hand() -> None:
    """Six tokens of six, one changed: 5/6, 3/5, 1/4, and the fourth order, unmatched, counts 1 / (2 × 3)."""
    got = bleu("The refund takes ten days.", ["The refund takes five days."])
    assert got == pytest.approx((5 / 6 * 3 / 5 * 1 / 4 * 1 / 6) ** 0.25, rel=1e-12)
    # One word of three: the two orders there are without a match count 1 / (2 × 2) and 1 / (4 × 1).
    assert bleu("a x y", ["a b c"]) == pytest.approx((1 / 3 * 1 / 4 * 1 / 4) ** (1 / 3), rel=1e-12)
    # Half the length, all of it right: nothing but exp(1 − 8/4).
    assert bleu("a b c d", ["a b c d e f g h"]) == pytest.approx(math.exp(-1), rel=1e-12)


def test_sacrebleu_s_readme() -> None:
    """Its example for Python: BLEU 48.53 and chrF2 59.73, with two references each."""
    assert corpus_bleu(SYSTEM, REFERENCES) == pytest.approx(0.4853, abs=5e-5)
    assert corpus_chrf(SYSTEM, REFERENCES) == pytest.approx(0.5973, abs=5e-5)


def test_a_missing_reference_is_not_an_empty_one() -> None:
    """sacrebleu's README: without the first reference of the first text, 29.44."""
    assert corpus_bleu(SYSTEM, [REFERENCES[0][1:], *REFERENCES[1:]]) == pytest.approx(0.2944, abs=5e-5)


def test_lin_s_example() -> None:
    """Lin (2004), section 3.1: the order of words tells what pairs of words do not."""
    reference = ["police killed the gunman"]
    assert rouge("police kill the gunman", reference) == 0.75
    assert rouge("the gunman kill police", reference) == 0.5
    assert rouge("police kill the gunman", reference, "rouge2") == rouge(
        "the gunman kill police", reference, "rouge2"
    )


@pytest.mark.parametrize(
    ("kind", "text", "references", "wanted"),
    [
        ("rouge1", "testing", ["testing one two"], 1 / 2),
        ("rouge2", "testing one", ["testing one two"], 2 / 3),
        ("rougeL", "testing two", ["testing one two"], 4 / 5),
        ("rouge1", "text first", ["first text", "first something"], 1.0),
        ("rouge2", "text first", ["first text", "first something"], 0.0),
        ("rougeL", "text first", ["first text", "first something"], 0.5),
    ],
)
def test_rouge_score_s_own_examples(kind: Any, text: str, references: list[str], wanted: float) -> None:
    assert rouge(text, references, kind) == pytest.approx(wanted, abs=1e-12)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="<"), min_size=1, max_size=60))
def test_identical_texts_score_1(text: str) -> None:
    """Whatever the script; where there is no word to count, the reference is refused and not scored 0."""
    for got in (
        bleu(text, [text]),
        chrf(text, [text]),
        *(rouge(text, [text], k) for k in ("rougeL", "rouge1", "rouge2")),
    ):
        assert isinstance(got, NotEstimable) or got == pytest.approx(1.0, abs=1e-12)
        assert isinstance(got, NotEstimable) or 0 <= got <= 1
    if text.strip():
        assert chrf(text, [text]) == pytest.approx(1.0, abs=1e-12)


def test_a_corpus_of_identical_texts_scores_1() -> None:
    assert corpus_bleu(SYSTEM, [[text] for text in SYSTEM]) == pytest.approx(1.0, abs=1e-12)
    assert corpus_chrf(SYSTEM, [[text] for text in SYSTEM]) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("text", ["qqq www zzz", "", "   \n"])
def test_nothing_shared_scores_0_smoothed_or_not(text: str) -> None:
    references = ["the dog sat on the mat"]
    assert bleu(text, references) == chrf(text, references) == 0
    assert corpus_bleu([text], [references]) == corpus_chrf([text], [references]) == 0
    assert [rouge(text, references, kind) for kind in ("rougeL", "rouge1", "rouge2")] == [0, 0, 0]


def test_a_right_answer_in_other_words_scores_below_a_wrong_one_in_the_same() -> None:
    """Why these scores never stand alone."""
    reference = ["You can return the shoes within thirty days."]
    right, wrong = (
        "Send them back any time during a month.",
        "You can not return the shoes within thirty days.",
    )
    for score in (bleu, chrf, rouge):
        low, high = score(right, reference), score(wrong, reference)
        assert isinstance(low, float)
        assert isinstance(high, float)
        assert low < 0.3
        assert high > 0.7


def test_what_cannot_be_compared_says_why() -> None:
    for score in (bleu, chrf, rouge):
        assert score("a b", []) == NotEstimable("there is no reference")
        reason = score("a b", ["a b", " \n"])
        assert isinstance(reason, NotEstimable)
        assert reason.reason.startswith("reference 2 of 2 holds no ")
    assert rouge("a", ["a"], "rouge2") == NotEstimable(
        "the reference holds fewer than two words of a–z or 0–9"
    )
    assert rouge("Привет", ["!?"]) == NotEstimable("the reference holds no word of a–z or 0–9")
    assert bleu("a", ["<skipped>"]) == NotEstimable("the reference holds no word")
    for corpus in (corpus_bleu, corpus_chrf):
        assert corpus([], []) == NotEstimable("there are no texts")
        assert corpus(["a", "b"], [["a"], []]) == NotEstimable("text 2 of 2: there is no reference")
    assert corpus_bleu(["a b c"], [["a b c"]]) == NotEstimable(
        "no reference of any text has 4 words, and BLEU counts 4-grams"
    )
    assert corpus_bleu(["a b c"], [["a b c d"]]) == 0


def test_arguments_of_the_wrong_form_are_refused() -> None:
    anything: Any = None
    for score in (bleu, chrf, rouge):
        with pytest.raises(UsageError, match="put a single reference in a list"):
            score("a", "a single string")
        with pytest.raises(UsageError, match="must be a list of strings"):
            score("a", ["a", anything])
        with pytest.raises(UsageError, match="the text must be a string, not NoneType"):
            score(anything, ["a"])
    for corpus in (corpus_bleu, corpus_chrf):
        with pytest.raises(UsageError, match="there are 2 and 1"):
            corpus(["a", "b"], [["a"]])
        with pytest.raises(UsageError, match="put a single reference in a list"):
            corpus(["a", "b"], ["a", "b"])
        with pytest.raises(UsageError, match="texts must be a list"):
            corpus("a", [["a"]])
    with pytest.raises(UsageError, match="kind must be one of rougeL, rouge1, rouge2, not 'rouge3'"):
        rouge("a", ["a"], anything or "rouge3")


@pytest.mark.parametrize(
    ("module", "call", "name"),
    [
        ("sacrebleu", lambda: bleu("a", ["a"]), "BLEU"),
        ("sacrebleu", lambda: corpus_bleu(["a"], [["a"]]), "BLEU"),
        ("sacrebleu", lambda: chrf("a", ["a"]), "chrF"),
        ("sacrebleu", lambda: corpus_chrf(["a"], [["a"]]), "chrF"),
        ("rouge_score", lambda: rouge("a", ["a"]), "ROUGE"),
    ],
)
def test_a_missing_package_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, module: str, call: Any, name: str
) -> None:
    for loaded in [m for m in sys.modules if m.split(".")[0] == module] or [module]:
        monkeypatch.setitem(sys.modules, loaded, None)
    with pytest.raises(MissingExtraError) as told:
        call()
    assert (
        str(told.value)
        == f"{name} needs the 'similarity' extra. Install it: pip install 'equipoise[similarity]'"
    )


def test_the_module_imports_neither_library() -> None:
    code = "import sys, equipoise.scoring.overlap as o; print({'sacrebleu', 'rouge_score', 'nltk', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("set()\n", "")
