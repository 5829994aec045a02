"""What is taken out of a text before it is kept, and what it is called then."""

from __future__ import annotations

import pytest

from equipoise.experiment.capture_checks import REDACTED
from equipoise.scoring.redacting import KINDS, Redactor, kinds_of

JWT = f"eyJ{'a' * 1900}.{'b' * 3900}.{'c' * 900}"


@pytest.mark.parametrize(
    "said, left",
    [
        ("jo@example.org", "[e-mail address]"),
        ("jo\u200b@exam\u00adple.org", "[e-mail address]"),
        ("jo\uff20example.org", "[e-mail address]"),
        ("jo%40example.org, jo%2540example.org", "[e-mail address], [e-mail address]"),
        ("jo&#64;example.org jo&amp;#x40;example.org", "[e-mail address] [e-mail address]"),
        (r'{"to": "jo\u0040example.org"}', r'{"to": "[e-mail address]"}'),
        (r'{"to": "jo\\\\u0040example.org"}', r'{"to": "[e-mail address]"}'),
        (r"pay:\n4111 1111 1111 1111\n", r"pay:\n[card number]\n"),
        ("٤١١١ ١١١١ ١١١١ ١١١١", "[card number]"),
        ("é Call 212-555-0123 ü", "é Call [phone number] ü"),
        ("-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\nHi", "[key or token]\nHi"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII, and no end", "[key or token]"),
        ("\ud800 jo@example.org", "? [e-mail address]"),
        (r"C:\new\table 50% &#1114112; off", r"C:\new\table 50% &#1114112; off"),
        ("", ""),
    ],
)
def test_data_goes_also_where_it_is_disguised(said, left):
    """What a reader or a parser would see is looked at, and what is none of it stays as it was written."""
    assert Redactor(kinds_of([])).text(said).text == left


def test_only_the_kinds_that_were_asked_for_go():
    """Each name that a definition may list stands for a kind; all of them, none, or what nobody knows."""
    assert {*KINDS, "pii", "nothing"} == set(REDACTED)
    redactor = Redactor(kinds_of(["card"]))
    assert redactor.text("jo@example.org 4111 1111 1111 1111").text == "jo@example.org [card number]"
    assert kinds_of(["email", "what a later version knows"]) == kinds_of(["pii"]) == kinds_of([])
    assert Redactor(kinds_of(["nothing"])).text("jo@example.org").text == "jo@example.org"


@pytest.mark.parametrize("secret", ["jo@example.org", "4111 1111 1111 1111", JWT], ids=["mail", "card", "token"])  # fmt: skip
def test_the_end_of_a_text_that_is_cut_shows_no_part_of_what_went(secret):
    """Wherever the cut falls, before, within or after what is to be redacted, no four characters of it are left."""
    pieces = {secret[at : at + 4] for at in range(len(secret) - 3)}
    for before in (*range(80, 101), 0):
        text = Redactor(kinds_of([]), longest=100).text("-" * before + " " + secret + " " + "x" * 9000)
        assert text.cut
        assert not any(piece in text.text for piece in pieces)


def test_what_shrinks_brings_nothing_in_that_was_beyond_the_cut():
    """Many long tokens become short marks: what stood beyond the bound is still not kept."""
    text = Redactor(kinds_of([]), longest=8000).text(f"{JWT} " * 3 + "the end")
    assert text.text == "[key or token] [key or token]"
