"""Safety checks on labelled data: what docs/safety.md says of them is what is measured."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from equipoise.scoring.safety import find_personal_data, toxicity

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
DOC = (ROOT / "docs" / "safety.md").read_text("utf-8")
KINDS = {
    "CREDIT_CARD": "card number",
    "PHONE_NUMBER": "phone number",
    "EMAIL_ADDRESS": "e-mail address",
    "IBAN_CODE": "IBAN",
    "US_SSN": "social security number",
    "IP_ADDRESS": "IP address",
}
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the folder ../shared is not there")


def row(name):
    (found,) = re.findall(rf"^\| {re.escape(name)} \|(.*)\|$", DOC, re.MULTILINE)
    return [cell.strip() for cell in found.split("|")]


def test_personal_data_is_found_as_the_guide_says():
    """1,500 texts with marked spans: found, missed and false alarms of every kind, by overlap."""
    found, missed, false = Counter(), Counter(), Counter()
    with gzip.open(DATA / "guard_pii" / "texts.jsonl.gz", "rt") as lines:
        for line in lines:
            text = json.loads(line)
            seen = find_personal_data(text["text"])
            marked = [(KINDS[s["type"]], s["start"], s["end"]) for s in text["spans"] if s["type"] in KINDS]
            for kind, start, end in marked:
                hit = any(each.kind == kind and each.start < end and start < each.end for each in seen)
                (found if hit else missed)[kind] += 1
            for each in seen:
                hit = any(
                    kind == each.kind and each.start < end and start < each.end for kind, start, end in marked
                )
                false[each.kind] += not hit
    for kind in KINDS.values():
        total = found[kind] + missed[kind]
        precision = found[kind] / (found[kind] + false[kind])
        assert row(kind) == [
            str(total),
            str(found[kind]),
            str(false[kind]),
            f"{precision:.2f}",
            f"{found[kind] / total:.2f}",
        ]


@pytest.mark.parametrize(
    "name, part",
    [("offensive words", slice(None)), ("offensive words, every second comment", slice(1, None, 2))],
    ids=["all", "every second"],
)
def test_offensive_words_are_found_as_the_guide_says(name, part):
    """1,000 comments, half of them toxic as people see it; and every second of them alone."""
    with gzip.open(DATA / "guard_toxicity" / "comments.csv.gz", "rt", newline="") as file:
        rows = list(csv.DictReader(file))[part]
    flagged = [(each["toxic"] == "1", toxicity(each["text"]).passed is False) for each in rows]
    hits = sum(toxic and alarm for toxic, alarm in flagged)
    alarms, toxic = sum(alarm for _, alarm in flagged), sum(is_toxic for is_toxic, _ in flagged)
    assert row(name) == [
        str(toxic), str(hits), str(alarms - hits), f"{hits / alarms:.2f}", f"{hits / toxic:.2f}",
    ]  # fmt: skip
