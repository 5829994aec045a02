"""Rules and safety checks: what they say of a text, and how a wrong declaration is met."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.errors import DefinitionError
from equipoise.scoring.passing import Failed, Passed
from equipoise.scoring.rules import read_checks
from equipoise.scoring.safety import find_personal_data, is_empty, pii, safety


def run(declared, text, reference=None):
    (check,), _ = read_checks([declared])
    return check.run(text, reference)


@pytest.mark.parametrize(
    "declared, good, bad, reason",
    [
        ({"equals": "Yes"}, " Yes\n", "yes", "the text is not the one that is wanted"),
        ({"contains": "policy"}, "our POLICY", "polic", "does not contain 'policy'"),
        ({"not_contains": "sorry"}, "glad", "So Sorry", "contains 'sorry'"),
        ({"regex": r"\b\d{2}\b"}, "in 14 days", "in 140 days", r"nothing matches '\\b\\d{2}\\b'"),
        ({"json_valid": True}, '{"a": 1}', "{'a': 1}", "not JSON: unexpected character, expected a string key at line 1 column 2"),
        ({"max_chars": 3}, "abc", "abcd", "4 characters, and at most 3 are allowed"),
        ({"min_chars": 3}, "abc", "ab", "2 characters, and at least 3 are wanted"),
        ({"not_empty": True}, "a", " \u200b\n", "the answer is empty"),
        ({"pii": {"allow": ["help@shop.example"]}}, "Write to Help@Shop.example", "jo@x.org", "an e-mail address at character 1"),
        ({"safety": True}, "Fine.", "", "the answer is empty"),
    ],
)  # fmt: skip
def test_each_rule_passes_and_fails_with_its_reason(declared, good, bad, reason):
    """Every rule says why a text fails."""
    assert run(declared, good) == Passed()
    assert run(declared, bad) == Failed(reason)


def test_a_rule_may_compare_with_the_cases_reference():
    """`{from: reference}` takes the reference of the case."""
    assert run({"contains": {"from": "reference"}}, "It is Paris.", "paris") == Passed()
    assert run({"equals": {"from": "reference"}}, "London", "Paris") == Failed(
        "the text is not the one that is wanted"
    )


@pytest.mark.parametrize(
    "declared, must_pass, message",
    [
        ([{"contans": "x"}], [], "offline.checks[0]: there is no rule 'contans'; accepted: contains, equals, json_valid, max_chars, min_chars, not_contains, not_empty, pii, regex, safety; did you mean 'contains'?"),
        ([{"contains": ""}], [], "offline.checks[0].contains: 'contains' does not take ''; accepted: a text, or {from: reference}"),
        ([{"max_chars": -1}], [], "offline.checks[0].max_chars: 'max_chars' does not take -1; accepted: a whole number"),
        ([{"regex": "("}], [], "offline.checks[0].regex: 'regex' does not take '('; accepted: a regular expression of Python"),
        ([{"contains": "a", "equals": "b"}], [], "offline.checks[0]: a check has one rule, and this has 2; accepted: {RULE: argument}, such as {contains: policy}"),
        ([{"contains": "a"}, {"contains": "b"}], [], "offline.checks[1]: a second check is called 'contains'; name it: {contains: …, name: ANOTHER}"),
        ([{"contains": "a"}], ["safty"], "offline.gate.must_pass[0]: no check is called 'safty'; accepted: contains, json_valid, not_empty, pii, safety; did you mean 'safety'?"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_met_with_the_way_out(declared, must_pass, message):
    """What is wrong, where, what is accepted, and the nearest name."""
    with pytest.raises(DefinitionError) as caught:
        read_checks(declared, must_pass=must_pass)
    assert str(caught.value) == message
    assert caught.value.exit_code == 2


def test_all_faults_are_reported_at_once():
    """Two wrong checks give two faults."""
    with pytest.raises(DefinitionError) as caught:
        read_checks([{"a": 1}, {"b": 2}])
    assert len(caught.value.faults) == 2


def test_must_pass_names_checks_rules_and_what_need_not_be_declared():
    """A rule's name stands for all its checks; `safety` comes by itself."""
    checks, needed = read_checks(
        [{"contains": "a"}, {"contains": "b", "name": "says_b"}, {"max_chars": 9}],
        must_pass=["contains", "safety"],
    )
    assert [check.name for check in checks] == ["contains", "says_b", "max_chars", "safety"]
    assert needed == {"contains", "says_b", "safety"}


@pytest.mark.parametrize(
    "text, kinds",
    [
        ("mail jo.o'neil+x@mail.example.co.uk now", ["e-mail address"]),
        ("4111111111111111", ["card number"]),
        ("no. 12 4111-1111-1111-1111 77", ["card number"]),
        ("amex 3782 822463 10005", ["card number"]),
        ("4111 1111 1111 1112", []),
        ("0000 0000 0000 0000", []),
        ("IBAN DE89 3704 0044 0532 0130 00.", ["IBAN"]),
        ("gb82WEST12345698765432", ["IBAN"]),
        ("GB83 WEST 1234 5698 7654 32", []),
        ("NO9386011117947", ["IBAN"]),
        ("SSN 123-45-6789", ["social security number"]),
        ("000-12-3456 666-12-3456 912-34-5678 123-00-4567", []),
        ("call +49 30 901820", ["phone number"]),
        ("call (212) 555-0123 or 1-800-555-0199", ["phone number", "phone number"]),
        ("on 2024-05-01 at 10:30:00, order 1234567890, 3.14159265358979, v1.2.3", []),
        ("10.0.0.1 to 192.168.100.200", []),
    ],
)
def test_personal_data_is_found_by_its_check_digits(text, kinds):
    """Examples of each kind, and near misses of each."""
    assert [found.kind for found in find_personal_data(text)] == kinds


def test_the_reason_does_not_repeat_the_data():
    """A report that names the leak must not be one."""
    found = pii("a@b.example, c@d.example, e@f.example, g@h.example")
    assert found == Failed(
        "an e-mail address at character 1, an e-mail address at character 14, "
        "an e-mail address at character 27 and 1 more"
    )


@given(st.integers(0, 10**15 - 1), st.sampled_from(["", " ", "-"]))
def test_every_luhn_number_is_found_and_its_neighbours_are_not(body, separator):
    """Of the ten numbers that differ in the last digit, exactly the one with the right check digit is a card."""
    digits = f"4{body:015d}"[:15]
    shown = []
    for last in range(10):
        number = digits + str(last)
        text = separator.join(number[start : start + 4] for start in range(0, 16, 4))
        shown += [found.kind for found in find_personal_data(text) if found.kind == "card number"]
    assert shown == ["card number"]


@given(st.text())
def test_safety_never_raises_and_spans_lie_in_the_text(text):
    """Any text is read; what is found lies inside and does not overlap."""
    found = find_personal_data(text)
    assert all(0 <= each.start < each.end <= len(text) for each in found)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))
    assert is_empty(text) == (safety(text) == Failed("the answer is empty"))


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "1 ",
        "1",
        "a.",
        "a@",
        "a1 ",
        "AT12",
        "AT12 ",
        "4111 1111 1111 1111 ",
        "4 5 ",
        "a@b.example ",
        "+1 ",
        "(212)",
        "212-",
        "-",
        " ",
    ],
)
def test_no_text_takes_long(unit):
    """100,000 characters of the worst kinds are read in linear time."""
    started = time.perf_counter()
    safety(unit * (100_000 // len(unit)))
    assert time.perf_counter() - started < 2


def test_rules_and_providers_load_no_heavy_package():
    """The light path: neither checks nor providers import the numbers."""
    code = (
        "import sys, equipoise.scoring.rules, equipoise.scoring.safety, equipoise.providers.recorded, "
        "equipoise.providers.openai_compatible, equipoise.providers.simulated;"
        "print([m for m in ('numpy', 'scipy', 'duckdb', 'pyarrow', 'pandas', 'jinja2') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
