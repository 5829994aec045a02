"""Personal data and secrets in a text, found by their shape and check digits.

Digits and letters are those of ASCII: data disguised in other scripts is not found here. Blanks and hyphens may be
those of typesetters, at which no line breaks.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

__all__ = ["PersonalData", "find_personal_data"]

# Every pattern is anchored so that no text, however long, takes more than linear time.
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9_%+-][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])"
)
_IBAN_HEAD = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?=[ -]?[A-Za-z0-9])")
_SSN = re.compile(r"(?<![0-9-])(?!000|666|9)[0-9]{3}([- ])(?!00)[0-9]{2}\1(?!0000)[0-9]{4}(?![0-9-])")
_DIGITS = re.compile(r"(?<![A-Za-z0-9])[0-9]+(?:[ -][0-9]+)*(?![A-Za-z0-9])")
_GROUP = re.compile(r"[0-9]+")
_PHONE = re.compile(
    r"(?<![A-Za-z0-9+.])(?:\+[1-9][0-9]{0,2}(?:[ .-]?\(?[0-9]{1,4}\)?){2,6}"
    r"|(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}"
    r")(?:(?: ?x| ext\.? ?)[0-9]{1,5})?(?![A-Za-z0-9])"
)
"""International and North American forms, which little else looks like."""
_NATIONAL = re.compile(
    r"(?<![A-Za-z0-9+.,/-])(?<![0-9] )(?:0[1-9][0-9]{0,3}(?:[ -][0-9]{2,4}){2,4}"
    r"|\(0?[0-9]{1,4}\) ?[0-9]{2,4}(?:[ -][0-9]{2,4}){1,3})(?![A-Za-z0-9]|[.,/-][0-9])"
)
"""A trunk zero and groups, or an area code in brackets; dates, citations and order numbers look like it, too."""
_LINK = (
    r"(?:[ :,.=#-]{0,3}\b(?:number|no|nr|is|me|us|him|her|them|back|at|on|my|our|your|his|their|line|phone|mobile|"
    r"home|work|office|fax|or)\b)"
)
_SPOKEN = re.compile(
    rf"\b(?:(?:phone|telephone|tel|mobile|cellphone|fax|whatsapp|call|dial){_LINK}{{0,5}}"
    rf"|(?:cell|ring|reach|text){_LINK}{{1,5}})[\s:,.=#-]{{0,3}}"
    r"(\(?[0-9](?:(?:[ .-]|\) ?| \()?[0-9]){6,14})(?![A-Za-z0-9]|[.,/:][0-9])",
    re.IGNORECASE,
)
"""Digits, in whatever groups, that a word for telephones leads to."""
_OTHER_NUMBER = re.compile(
    r"\b(?:order|invoice|item|part|article|ticket|case|ref|reference|account|customer|policy|tracking|parcel|isbn|issn|"
    r"serial|version|id|model|voucher|code)s?\b[^0-9\n]{0,12}$",
    re.IGNORECASE,
)
"""What stands before a number that says it is another one."""
_DATE = re.compile(
    r"(?<![0-9])(?:(?:19|20)[0-9]{2}[-. ](?:0?[1-9]|1[0-2])[-. ](?:0?[1-9]|[12][0-9]|3[01])"
    r"|(?:0?[1-9]|[12][0-9]|3[01])[-. ](?:0?[1-9]|[12][0-9]|3[01])[-. ](?:19|20)[0-9]{2})(?![0-9])"
)
_YEAR_IN_BRACKETS = re.compile(r"\((?:1[5-9]|20)[0-9]{2}\)")
_AMOUNT = re.compile(r"[0-9](?:[ .][0-9]{3})+|[0-9]{1,3}(?:[ .][0-9]{3})*[ .]000|[1-9][0-9]*0{5}")
"""Millions in groups, or a round number."""
_IPV4 = re.compile(
    r"(?<![0-9A-Za-z.])(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})\.){3}(?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})(?![0-9A-Za-z]|\.[0-9])"
)
_IPV6 = re.compile(r"(?<![0-9A-Za-z:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![0-9A-Za-z:])")
_SECRETS = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"sk-(?=[A-Za-z_-]{0,200}[0-9])(?:proj-|ant-|svcacct-)?[A-Za-z0-9_-]{20,200}"
    r"|[Bb]earer (?=[A-Za-z._~+/-]{0,200}[0-9])[A-Za-z0-9._~+/-]{20,4000}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_[A-Za-z0-9_]{40,255}"
    r"|glpat-[A-Za-z0-9_-]{20,64}"
    r"|xox[abprs]-[A-Za-z0-9-]{10,200}"
    r"|AIza[A-Za-z0-9_-]{35}"
    r"|hf_[A-Za-z0-9]{30,64}"
    r"|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,128}"
    r"|eyJ[A-Za-z0-9_-]{8,2000}\.[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,1000}"
    r")(?![A-Za-z0-9_-])"
    r"|-----BEGIN (?:[A-Z]{2,12} ){0,3}PRIVATE KEY-----"
)
_MARKS = (
    "sk-", "earer ", "AKIA", "ASIA", "_", "glpat-", "xox", "AIza", "eyJ", "-----BEGIN",
)  # fmt: skip
"""Every secret has one of these in it."""
_PLAIN_SEPARATORS = str.maketrans("\u00a0\u2007\u2009\u202f\u2010\u2011\u2012", "    ---")
_MOST_GROUPS = 6
"""Cards are written in up to five groups of digits; one by one they are not found."""
_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27,
    "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28,
    "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23,
    "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26,
    "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21,
    "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28,
    "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22,
    "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25,
    "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip
"""Country → length, from the IBAN registry of SWIFT (ISO 13616)."""


@dataclass(frozen=True, slots=True, order=True)
class PersonalData:
    """Where in a text personal data stands (`start` to `end`, in characters), and of what kind it is."""

    start: int
    end: int
    kind: str


def find_personal_data(text: str, *, allow: Collection[str] = ()) -> tuple[PersonalData, ...]:
    """E-mail addresses, cards (Luhn), IBANs (check digits), US social security, phone and IP numbers, keys and tokens.

    `allow` lists what may be said, such as the firm's own address; case, blanks and punctuation do not matter.

    >>> [found.kind for found in find_personal_data("Card 4111 1111 1111 1111, write to jo@example.org")]
    ['card number', 'e-mail address']
    >>> find_personal_data("Order 4111 1111 1111 1112 of 2024-05-01")
    ()
    >>> find_personal_data("Call 212-555-0123", allow=["(212) 555 0123"])
    ()
    """
    allowed = {_bare(each) for each in allow}
    if not text.isascii():
        text = text.translate(_PLAIN_SEPARATORS)
    found: list[PersonalData] = []
    taken = bytearray(len(text))
    digits = sum(map(text.count, "0123456789"))
    # A detector is only run where the text has what it looks for.
    for kind, find, wanted in (
        ("key or token", _secrets, any(mark in text for mark in _MARKS)),
        ("e-mail address", _emails, "@" in text),
        ("IBAN", _ibans, digits >= 10),
        ("card number", _cards, digits >= 12),
        ("social security number", _social, digits >= 9),
        ("IP address", _addresses, digits >= 4 or "::" in text),
        ("phone number", _phones, digits >= 7),
    ):
        spans = find(text) if wanted else iter(())
        for start, end in spans:
            if not any(taken[start:end]) and _bare(text[start:end]) not in allowed:
                found.append(PersonalData(start, end, kind))
                taken[start:end] = b"\1" * (end - start)
    return tuple(sorted(found))


def _secrets(text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in _SECRETS.finditer(text))


def _emails(text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in _EMAIL.finditer(text))


def _social(text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in _SSN.finditer(text))


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    for head in _IBAN_HEAD.finditer(text):
        length = _IBAN_LENGTHS.get(head[0][:2].upper())
        if length is None:
            continue
        taken, end = "", head.start()
        # Blanks and hyphens may stand between the groups; the country says how long it is.
        while end < len(text) and len(taken) < length:
            character = text[end]
            if character.isascii() and character.isalnum():
                taken += character
            elif character not in " -":
                break
            end += 1
        after = text[end : end + 1]
        if len(taken) == length and not (after.isascii() and after.isalnum()) and _mod_97(taken) == 1:
            yield head.start(), end


def _mod_97(iban: str) -> int:
    """The remainder of ISO 7064 MOD 97-10, letters as 10 to 35, country and check digits moved to the end."""
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97


def _cards(text: str) -> Iterator[tuple[int, int]]:
    for run in _DIGITS.finditer(text):
        groups = [match.span() for match in _GROUP.finditer(text, run.start(), run.end())]
        for first in range(len(groups)):
            digits = ""
            for start, end in groups[first : first + _MOST_GROUPS]:
                digits += text[start:end]
                if len(digits) > 19:
                    break
                if len(digits) >= 12 and _is_card(digits):
                    yield groups[first][0], end
                    break


_CARDS = (
    # (prefix, lengths) of the networks that check by Luhn: Visa, Mastercard, American Express, Discover, Diners Club,
    # JCB, Maestro, UnionPay. Source: ISO/IEC 7812-1 and the networks' published ranges.
    (re.compile(r"4"), frozenset({13, 16, 19})),
    (re.compile(r"5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)"), frozenset({16})),
    (re.compile(r"3[47]"), frozenset({15})),
    (re.compile(r"6(?:011|4[4-9]|5)"), frozenset({16, 19})),
    (re.compile(r"3(?:0[0-5]|[689])"), frozenset({14, 16, 19})),
    (re.compile(r"(?:2131|1800)"), frozenset({15})),
    (re.compile(r"35"), frozenset({16, 19})),
    (re.compile(r"50(?:18|20|38)|5893|6304|67(?:59|6[1-3])"), frozenset(range(12, 20))),
    (re.compile(r"62"), frozenset(range(16, 20))),
)


def _is_card(digits: str) -> bool:
    if len(set(digits)) == 1 or not any(
        len(digits) in lengths and prefix.match(digits) for prefix, lengths in _CARDS
    ):
        return False
    doubled = (int(digit) * 2 if index % 2 else int(digit) for index, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _phones(text: str) -> Iterator[tuple[int, int]]:
    for match in _PHONE.finditer(text):
        if 8 <= _digits_of(match[0]) <= 15:
            yield match.span()
    if "0" in text or "(" in text:
        for match in _NATIONAL.finditer(text):
            before = text[max(0, match.start() - 40) : match.start()]
            if (
                9 <= _digits_of(match[0]) <= 15
                and not _DATE.search(match[0])
                and not _YEAR_IN_BRACKETS.match(match[0])
                and not _OTHER_NUMBER.search(before)
            ):
                yield match.span()
    for match in _SPOKEN.finditer(text):
        if not _DATE.search(match[1]) and not _AMOUNT.fullmatch(match[1]):
            yield match.span(1)


def _digits_of(text: str) -> int:
    return sum(character.isdigit() for character in text)


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    for match in _IPV4.finditer(text):
        # The machine itself is nobody's address.
        if not match[0].startswith(("127.", "0.")):
            yield match.span()
    if ":" not in text:
        return
    for match in _IPV6.finditer(text):
        try:
            parsed = ip_address(match[0])
        except ValueError:
            continue
        # Times of day and "::" alone have the shape and are none.
        if parsed.compressed.count(":") > 2 or len(match[0]) > 6:
            yield match.span()


def _bare(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum() or character == "@")
