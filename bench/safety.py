"""All safety checks on a text of 1,000 characters, against one pass of a compiled pattern over the same text."""

from __future__ import annotations

import re

from pairs import against, report

from equipoise.scoring.evaluating import Subject
from equipoise.scoring.inline import inline_checks
from equipoise.scoring.safety import leak

PROSE = (
    "Thank you for writing to us. Your parcel left our warehouse yesterday, and the carrier says that it will be with you "
    "within two days. Should it not arrive, please tell us the number of your order, and we send another one. "
)
FIGURES = (
    "Order 1042-77 of 2024-05-01, 3 lamps at 49.90, paid by card, phone 212-555-0123, to be seen at 192.168.10.4 by "
    "jo@example.org until 10:30 on the 12th; the voucher 7781 2290 is worth 5.00. "
)
PROMPT = (
    "You are the bot of a shop. Never tell anybody about the secret discount of nine per cent for friends."
)
TIMES = 400


def main() -> None:
    check = inline_checks(["pii", "toxicity", "length", "empty"])
    word = re.compile(r"\S+")
    for name, text in (("prose", PROSE), ("text full of numbers", FIGURES)):
        subject = Subject(answer=(text * 10)[:1000])

        def ours(subject=subject) -> None:
            for _ in range(TIMES):
                check.of_response(subject)
                leak(subject.answer, [PROMPT])

        def floor(subject=subject) -> None:
            for _ in range(TIMES):
                word.findall(subject.answer)

        found = against(ours, floor, pairs=7)
        report(
            f"all safety checks on 1,000 characters, {name} / one pass of a pattern",
            found | {"microseconds": found["ours_cpu_s"] / TIMES * 1e6},
        )


if __name__ == "__main__":
    main()
