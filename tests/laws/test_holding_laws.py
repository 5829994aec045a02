"""A text that is watched while it is written: no cut of it lets a match through, and plain prose runs free."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.scoring.holding import Holding
from equipoise.scoring.personal_data import find_personal_data
from equipoise.scoring.safety import pii
from equipoise.scoring.toxicity import read_lexicon, toxicity

BOTH = frozenset({"pii", "toxicity"})
MATCHES = [
    "jo@example.org", "jo.van-der+x@mail.example.co.uk", "078-05-1120", "4111 1111 1111 1111", "4111-1111-1111-1111",
    "+1 (415) 555-2671", "+44 20 7946 0958", "415-555-2671", "DE89 3704 0044 0532 0130 00", "192.168.10.12",
    "sk-abcdefghijklmnopqrstuvwxyz012345", "ghp_abcdefghijklmnopqrstuvwxyz0123456789", "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefghijklmnopqrstuvwx", "-----BEGIN PRIVATE KEY-----",
    "password: hunter2hunter2", "postgres://user:secretword@db.example.org/x", "Bearer abcdefghijklmnopqrstuvwxyz0123",
    "idiot", "1d10t", "idiiiiot", "i d i o t", "i.d.i.o.t", "f**k", "**shit**", "#idiot", "id\u00ecot", "shut up", "Shut  Up", "SHIT!",
    "jo\u200b@example.org", "jo@ex\u00adample.org", "jo (at) example (dot) org", "\uff14\uff11\uff11\uff11 1111 1111 1111",
]  # fmt: skip


def told(text: str, pieces: list[str], checks=BOTH, lexicon=None) -> Holding:
    """Feed the pieces, and hold to it at each that what was let through is clean and that little is held."""
    holding = Holding(checks, lexicon)
    fed = cleared = 0
    for piece in pieces:
        fed += len(piece)
        now = holding.feed(piece)
        assert cleared <= now <= fed
        cleared = now
        shown = text[:cleared]
        if "pii" in checks:
            assert pii(shown).passed is not False, shown
            whole = [each for each in find_personal_data(text[:fed]) if each.end <= cleared]
            assert not whole or holding.overdue, (shown, whole)
        if "toxicity" in checks:
            assert toxicity(shown, words=lexicon).passed is not False, shown
        if holding.failed is not None:
            break
        assert holding.fed == fed
        assert fed - cleared <= 256
    holding.finish()
    assert holding.cleared == fed or holding.failed is not None
    fails = {"pii": pii(text[:fed]), "toxicity": toxicity(text[:fed], words=lexicon)}
    failing = {name for name in checks if fails[name].passed is False}
    if not holding.overdue:
        assert (holding.failed is not None) == bool(failing), (text[:fed], holding.failed)
    return holding


@pytest.mark.parametrize("match", MATCHES)
@pytest.mark.parametrize(
    "frame", ["{}", "Write to {} today.", "It is {}", "A plain word, then ({}), and more of it."]
)
def test_no_cut_in_three_lets_a_match_through(match, frame):
    """Every pair of cuts, and letter by letter: at no time does what was let through hold a complete match."""
    text = frame.format(match)
    told(text, list(text))
    start, end = frame.index("{"), frame.index("{") + len(match)
    for first in range(max(start - 2, 0), end + 1):
        for second in range(first, min(end + 2, len(text)) + 1):
            told(text, [text[:first], text[first:second], text[second:]])


PLAIN = st.sampled_from(
    ["the ", "order ", "ships ", "today", ". ", "a ", "I ", "s", "sh", "i", "@", "-", " ", "\n", "12", "3", "é", "e\u0301",
     "\u200b", "\ud800", "\U0001f600", "(", "+", "f", "*", "'", "_", "1", "名前"]
)  # fmt: skip


@given(st.lists(PLAIN | st.sampled_from(MATCHES), max_size=24), st.randoms(use_true_random=False))
def test_any_text_cut_anywhere_lets_no_match_through(words, chance):
    """Words, signs, halves of matches and matches in any order, in pieces of any size."""
    text = "".join(words)
    pieces, at = [], 0
    while at < len(text):
        size = chance.choice([1, 1, 2, 3, 5, 8, 20, 100])
        pieces.append(text[at : at + size])
        at += size
    told(text, pieces)


LISTED = ["darn", "heck*", "go away", "sod off*", "no-good", "scheiß*", "идиот"]


@given(
    st.lists(
        st.sampled_from(
            [*"darnhecksof -’'\n.!", "go ", "away", "heck", "ing", "sod", "ß", "ИДИ", "от", "n0"]
        ),
        max_size=20,
    ),
    st.sampled_from([1, 2, 3, 7]),
)
def test_a_list_of_ones_own_is_kept_to_at_every_cut(words, size):
    """Words, stems, phrases, a hyphen and other scripts."""
    text = "".join(words)
    told(text, [text[at : at + size] for at in range(0, len(text), size)], {"toxicity"}, read_lexicon(LISTED))


PROSE = (
    "Thank you for asking. We ship on the same day, and most parcels arrive within the week: you will be told where "
    "yours is, as soon as it is on its way. If it is late, write to us, and we send another one. That is all, I hope."
)


@pytest.mark.parametrize("size", [1, 4, 9, 1000])
def test_plain_prose_without_words_that_begin_as_listed_ones_runs_free(size):
    """With addresses looked for, every piece goes out as it comes; with the list too, nothing waits for two words."""
    pieces = [PROSE[at : at + size] for at in range(0, len(PROSE), size)]
    fed = 0
    free, listed = Holding({"pii"}), Holding(BOTH)
    for piece in pieces:
        fed += len(piece)
        assert free.feed(piece) == fed
        assert len(PROSE[listed.feed(piece) : fed].split()) <= 3
    listed.finish()
    assert (listed.cleared, listed.failed, listed.overdue) == (len(PROSE), None, False)


@pytest.mark.parametrize("text", ["The assessment is in the cockpit.", "Dickens wrote classics.", "10.0.0.1.5 is a version", "It is a shut upper door"])  # fmt: skip
def test_a_match_that_goes_on_as_something_harmless_does_not_stop_the_text(text):
    """Wherever it is cut: as long as its last word is open, a match may still be another word."""
    for at in range(len(text)):
        told(text, [text[:at], text[at:]])
    assert told(text, list(text)).failed is None


def test_what_was_held_for_too_long_goes_out_unless_it_is_a_match_as_it_stands():
    """An open number is let go, and is `overdue`; an address is not: the check has failed."""
    holding = Holding({"pii"})
    assert holding.feed("Call 555") == 5
    assert (holding.release(), holding.overdue, holding.failed) == (8, True, None)
    assert holding.feed(" today, or write to jo@example.org") == 28
    assert (holding.release(), holding.failed) == (28, "pii")
    assert holding.feed(" now") == 28


HOSTILE = [
    "1" * 300, "1 " * 300, "a" * 300, "a " * 300, "a.b" * 200, "jo@" * 200, "@" * 300, "x.y@z." * 100, "f*" * 300,
    "sk-" * 200, "eyJ" * 200, "Bearer " * 100, "-----BEGIN " * 60, "shut " * 150, "i will " * 100, "ki ll" * 100,
    "\ud800" * 300, "e\u0301" * 300, "\u200b" * 300, " " * 600, "\n \t" * 200, "(" * 300, "::" * 300, "+1 (" * 150, "as" * 300,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
@pytest.mark.parametrize("size", [1, 7, 10**6])
def test_hostile_text_is_looked_at_so_many_times_and_no_more(text, size, monkeypatch):
    """The characters given to the checks grow with the text, each seen with at most 336 before it, twice."""
    from equipoise.scoring import holding as module

    looked = 0

    def counting(check):
        def run(said, **more):
            nonlocal looked
            looked += len(said)
            return check(said, **more)

        return run

    monkeypatch.setattr(module, "pii", counting(pii))
    monkeypatch.setattr(module, "toxicity", counting(toxicity))
    holding = Holding(BOTH)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    for piece in pieces:
        holding.feed(piece)
        assert holding.failed is not None or holding.fed - holding.cleared <= 256
    assert looked <= 4 * (len(text) + len(pieces) * (256 + 80 + 1))


@pytest.mark.parametrize("gap", [" " * 40, "\n" * 90, " \n" * 60])
def test_blanks_do_not_part_the_words_of_a_phrase(gap):
    """However many there are, up to the bound of what is held."""
    told(f"so shut{gap}up now", list(f"so shut{gap}up now"))
    told(f"so i will{gap}kill you", list(f"so i will{gap}kill you"))
