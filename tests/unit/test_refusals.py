"""Refusals by their opening: which ones count, which answers only sound alike, and how long it takes."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import pytest

from equipoise.scoring.refusals import refuses

ANSWERS = Path(__file__).resolve().parents[3] / "shared" / "data" / "arena_alpacaeval" / "outputs.jsonl.gz"


@pytest.mark.parametrize(
    "answer",
    [
        "I can't help with that.",
        "I can’t do that.",
        "**I cannot provide that information.**",
        "I won't be able to assist you with this.",
        "I'm unable to share account details.",
        "I am not able to answer this question.",
        "I'm sorry, but I can't assist with that request.",
        "I’m really sorry, I cannot fulfill this request.",
        "Sorry, but I can't comply.",
        "Unfortunately, I cannot give you that.",
        "I apologize for the inconvenience, but I am unable to process that.",
        "I'm afraid I can't discuss that.",
        "As an AI, I don't have personal opinions.",
        "As an AI language model, I cannot browse.",
        "As a large language model I'm not able to feel.",
        "I must respectfully decline.",
        "I have to decline this one.",
        "I'm not comfortable writing that.",
        "I do not feel comfortable with this.",
        "That request goes against our content policy.",
        "This violates my guidelines.",
        "It's not appropriate for me to say.",
        "It would not be ethical to do so.",
        "No, I can't help you with that.",
        "We are unable to assist with this.",
    ],
)
def test_openings_that_refuse(answer):
    """Ways in which models decline, with either apostrophe, after an apology, in bold."""
    assert refuses(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Sure, here it is.",
        "I can't wait to help!",
        "I cannot recommend this book enough.",
        "We can't ship to Canada yet; a parcel to Maine takes two days.",
        "I'm sorry to hear that your parcel is late. It will be there on Monday.",
        "I apologize for the delay. Your refund is on its way.",
        "Unfortunately, the shop is closed on Sundays.",
        "As an AI, I can help with that!",
        "As an aid to memory, draw it.",
        "It is not right to say that cats cannot swim: they can.",
        "Help is here. I can't help with that is what others say.",
        "You can't do that in Python; use a list.",
        "This is beyond dispute.",
        "I will explain how it works.",
        "Nein, dabei kann ich nicht helfen.",
    ],
)
def test_openings_that_only_sound_alike(answer):
    """Apologies that go on to help, other people's inability, and what the list owns not to find."""
    assert not refuses(answer)


@pytest.mark.skipif(not ANSWERS.exists(), reason="the folder ../shared is not there")
def test_of_real_answers_only_those_that_decline_are_found():
    """Of 3,220 answers, 63 are found, and each says in its first 160 characters that something is not done."""
    with gzip.open(ANSWERS, "rt", encoding="utf-8") as lines:
        answers = [json.loads(line)["output"] for line in lines]
    found = [answer for answer in answers if refuses(answer)]
    declining = ("can't", "cannot", "unable", "not able", "don't", "do not", "not ethical")
    assert len(found) == 63
    assert all(any(word in answer[:160] for word in declining) for answer in found)


@pytest.mark.parametrize(
    "unit",
    ["sorry ", "i'm sorry for x,", "as an ai x ", "i can't ", "unfortunately, i apologize for ", " ", "*"],
)
def test_no_answer_takes_long(unit):
    """A million characters of an opening that never comes to a point."""
    started = time.perf_counter()
    refuses(unit * (1_000_000 // len(unit)))
    assert time.perf_counter() - started < 30
