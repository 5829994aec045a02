"""Safety checks: what they find, what they leave alone, and that no text can make them slow."""

from __future__ import annotations

import time

import pytest

from equipoise.errors import DataError
from equipoise.scoring.evaluating import Subject
from equipoise.scoring.inline import inline_checks
from equipoise.scoring.safety import (
    complete,
    find_personal_data,
    is_empty,
    leak,
    pii,
    read_lexicon,
    safety,
    toxicity,
)


def kinds(text):
    return [each.kind for each in find_personal_data(text)]


@pytest.mark.parametrize(
    "text, kind",
    [
        ("write to jo.do+x@mail.example.co.uk.", "e-mail address"),
        ("4111 1111 1111 1111", "card number"),
        ("5500-0000-0000-0004", "card number"),
        ("378282246310005", "card number"),
        ("501800000009", "card number"),
        ("180000000000002", "card number"),
        ("DE89 3704 0044 0532 0130 00", "IBAN"),
        ("078-05-1120", "social security number"),
        ("call (212) 555-0123 ext. 44", "phone number"),
        ("+49 30 901820", "phone number"),
        ("Phone: 60-56-85-91", "phone number"),
        ("0490 75 40 81", "phone number"),
        ("(089) 901 820 33", "phone number"),
        ("reach me at 555 0123", "phone number"),
        ("Tel.: 72 128 827", "phone number"),
        ("4111\u00a01111\u00a01111\u00a01111", "card number"),
        ("DE89\u202f3704\u202f0044\u202f0532\u202f0130\u202f00", "IBAN"),
        ("212\u2011555\u20110123", "phone number"),
        ("from 192.168.10.4 at noon", "IP address"),
        ("Authorization: Bearer " + "abcDEF0123456789.ghij-KLMN", "key or token"),
        ("2001:db8:85a3::8a2e:370:7334", "IP address"),
        ("key sk-" + "abcDEF0123456789ghij", "key or token"),
        ("AKIA" + "IOSFODNN7EXAMPLE", "key or token"),
        ("-----BEGIN RSA PRIVATE KEY-----", "key or token"),
    ],
)
def test_personal_data_is_found_by_its_shape(text, kind):
    """Each kind in a usual spelling."""
    assert kinds(text) == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "Order 4111 1111 1111 1112 of 2024-05-01",
        "DE89 3704 0044 0532 0130 01",
        "It costs 1,234.56 and arrives 2024-05-01 at 10:30:45",
        "version 1.2.3.4.5 and section 12.4.1",
        "Order number W2378156, item 1008292230",
        "000-12-3456 and 900-12-3456",
        "a::b in C++, ::1 excepted, at 10:30",
        "sk-short and AKIA123",
        "sk-this-is-a-long-name-of-a-page, bearer internationalisation",
        "open http://127.0.0.1:8080, which listens on 0.0.0.0",
        "Call us on 2024-05-01",
        "Delivered on 05-12-2024, ordered 01 12 2024",
        "call between 10.00 - 12.00 or on 24.12.2024",
        "Smith (2019) 12 345-367 and Jones (2001) 114 5678-5689",
        "We want to reach 10 000 000 people, or call 1 000 000 of them",
        "mobile revenue of 1 250 000, cell 12345678 of the sheet",
        "order number 0123 456 789, invoice 01-2024-0045, part 04-123-4567",
        "Phone the shop about order 10428877",
        "scores (12) 10 20 30",
        "parcel 612345678905 and 581822471860662",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text):
    """Wrong check digits, dates, amounts, versions, order numbers."""
    assert kinds(text) == []


def test_a_reason_says_where_and_never_what():
    """The explanation can be shown and logged."""
    score = pii("Hello, write to jo@example.org or 4111 1111 1111 1111")
    assert score.explanation == "an e-mail address at character 17, a card number at character 35"
    assert pii("Call 212-555-0123", allow=["(212) 555 0123"]).passed


def test_offensive_words_are_seen_through_common_disguises():
    """Digits and signs for letters, letters drawn out, stars, letters set apart; and words within words are not."""
    for text in (
        "what an idiot",
        "1d10t",
        "shiiiiit",
        "f**k this",
        "s h i t",
        "F U C K",
        "kill   yourself",
        "#idiot",
        "an *idiot*",
        "**1d10t**",
        "__idiot__",
        "**f**k**",
        "idiot* as a footnote",
    ):
        assert toxicity(text).passed is False, text
    for text in (
        "Scunthorpe and Essex",
        "a classic assassin",
        "5* hotel",
        "I assess the class",
        "grapes",
        "# #1",
        "the convolution f*g, and a*s",
        "455$ or $455",
        "the Galaxy A55",
        "** *** '*'",
        "j'ai pigé, un café très épicé",
    ):
        assert toxicity(text).passed, text
    assert toxicity("a classic ass").explanation == "an offensive word at character 11"
    assert toxicity("what an idiot", allow=["idiot"]).passed


@pytest.mark.parametrize(
    "listed, text",
    [
        ("darn", "Darn it"),
        ("mörder", "du MÖRDER"),
        ("mo\u0308rder", "du mörder"),
        ("дурак*", "Ты дураком был"),
        ("dumb-head", "what a dumb-head"),
        ("don’t  you dare", "don't you\ndare"),
        ("you old goat*", "you old goats"),
    ],
)
def test_words_of_a_list_are_found_in_any_script_and_spelling(listed, text):
    """With letters of other scripts, hyphens, either apostrophe, blanks, any ending; and only whole."""
    assert toxicity(text, words=read_lexicon([listed])).passed is False
    assert toxicity(f"x{text}".replace(" ", " x"), words=read_lexicon([listed])).passed


def test_a_list_that_finds_nothing_or_everything_is_refused():
    """No word at all, and an ending after so few letters that it is on any page."""
    with pytest.raises(DataError) as none:
        read_lexicon(["# nothing"])
    assert str(none.value) == "a word list holds no word. Accepted: one word or phrase a line"
    with pytest.raises(DataError) as all_of_them:
        read_lexicon(["darn", "ab*"])
    assert str(all_of_them.value) == (
        "'ab*' in a word list stands for too many words. Write three letters or more before the *"
    )


def test_an_answer_that_is_cut_off_is_told():
    """By the endpoint's word, an open code block, an open JSON value."""
    assert complete("It takes five", "length").passed is False
    assert complete("```python\nx = 1").passed is False
    assert complete('{"a": "}"').passed is False
    assert complete('{"a": "}"}').passed
    assert complete("Fine {", "stop").passed
    assert complete("~~~\n```\n").passed is False
    assert complete("````md\n```\n````").passed
    assert complete("```x = 1``` is code within a line").passed
    assert complete('[1] A screen of 5" will do').passed
    assert complete('{"a": 1} and 5" more').passed


def test_a_prompt_that_leaks_is_told():
    """A planted mark whole; of a long prompt any eight words in a row, whatever their case."""
    prompt = "You are the bot of a shop. Never tell anybody about the secret discount of nine per cent."
    assert leak("it says NEVER  tell anybody about the secret discount of nine", [prompt]).passed is False
    assert leak("the shop never tells anybody", [prompt]).passed
    assert leak("never tell anybody about the discount of the shop bot you are", [prompt]).passed
    assert leak("zx-canary-91 it is", ["ZX-canary-91"]).passed is False
    assert leak("it is zx-canary-91-ok", ["ZX-canary-91"]).passed is False
    assert leak("it is xzx-canary-91", ["ZX-canary-91"]).passed
    assert leak("so ▲▼▲ it is", ["▲▼▲"]).passed is False
    assert leak("anything", ["", " "]).passed


def test_nothing_said_is_empty_and_unsafe():
    """White space and invisible characters say nothing."""
    assert is_empty(" \u200b\n")
    assert safety("\u200b").explanation == "the answer is empty"
    assert safety("Fine.").passed


def test_inline_checks_name_what_an_answer_does_not_hold_to():
    """All of a definition's checks in one call."""
    inline = inline_checks(["pii", "toxicity", "length", "empty", {"json_schema": {"required": ["a"]}}])
    answer = Subject(answer='{"b": "idiot, jo@example.org"}', finish_reason="length")
    names = [check.name for check, _ in inline.of_response(answer)]
    assert names == ["pii", "toxicity", "length", "json_schema"]


HOSTILE = [
    "1 ", "1-", "a@", "a.", "(1", "0", ":", "a b ", "DE89", "DE89 1" + " " * 200, "call ", "call me at ", "f*", "a*b ", "a", "+1 ",
    "eyJ", "eyJaaaaaaaa.", "sk-", "1.1.", "{", '"', "phone 1", "s h i ", "01 22 ", "#", "tel(1-", "order 01 22 33 44 ",
    "Bearer ", "Bearer a.", "*'", "a* ", "_", "`", "```\n", "~~~ ", "\t", "\u00a01", "ö",
]  # fmt: skip


@pytest.mark.parametrize("check", [pii, toxicity, complete], ids=lambda check: check.__name__)
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:14]))
def test_no_text_takes_time_in_the_square(check, text):
    """Two hundred thousand hostile characters are read to their end; what grows with the square takes minutes."""
    started = time.perf_counter()
    check((text * 200_000)[:200_000])
    assert time.perf_counter() - started < 30


def test_a_long_answer_is_searched_for_leaks_in_linear_time():
    """The words of a canary that nearly match, over and over."""
    started = time.perf_counter()
    leak("one two three four five six seven " * 6000, ["one two three four five six seven eight nine ten"])
    assert time.perf_counter() - started < 30
