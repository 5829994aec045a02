"""Labelling by keys in a terminal: the same items, order and log as on the page."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from equipoise.cli.output import harmless
from equipoise.conduct.labelling.task import Progress, Question, Shown
from equipoise.conduct.labels import AnsweredElsewhereError, Labelling
from equipoise.errors import UsageError

__all__ = ["label_here"]

_HELP = """\
  s skip · u take back the last answer · k back · j forward · ? this · q stop
  Every answer is kept before the next item is shown; stop whenever you like."""


def label_here(labelling: Labelling, rater: str) -> None:
    """Ask one item after another until none is left or the rater stops; UsageError where keys cannot be read."""
    ask = labelling.settings.ask
    with _keys() as key_of:
        key = labelling.next(rater)
        while key is not None:
            shown = labelling.show(rater, key)
            if shown is None:
                print("  its text is there no more")
                key = labelling.next(rater)
                continue
            print("\n".join(_lines(shown, labelling.progress(rater), rater)), flush=True)
            began = time.monotonic()
            pressed, choices = _asked(shown, ask, key_of)
            if pressed == "q":
                break
            if pressed == "u":
                last = labelling.progress(rater).last
                key = (labelling.undo(rater, last) if last else None) or key
                print("  taken back" if last else "  there is nothing to take back")
            elif pressed in ("j", "k"):
                key = (shown.next if pressed == "j" else shown.previous) or key
            else:
                try:
                    labelling.answer(rater, key, choices, seen=shown.seen, seconds=time.monotonic() - began)
                except AnsweredElsewhereError as error:
                    print(f"  {error}")
                    continue
                print("  kept", flush=True)
                key = labelling.next(rater)
    progress = labelling.progress(rater)
    print(f"{progress.answered} answered, {progress.left} left")


def _asked(shown: Shown, ask: str, key_of: Iterator[str]) -> tuple[str, dict[str, int | None]]:
    """The key that was pressed last, and what was chosen by then."""
    choices: dict[str, int | None] = {}
    for question in shown.questions:
        print(f"  {_prompt(question, ask)} ", end="", flush=True)
        for key in key_of:
            choice = _choice(key, question)
            if choice is not None:
                print(key, flush=True)
                choices[question.name] = choice
                break
            if key == "s":
                print("skipped", flush=True)
                return key, {each.name: None for each in shown.questions}
            if key in ("u", "j", "k", "q"):
                print(key, flush=True)
                return key, {}
            if key == "?":
                print(f"\n{_HELP}\n  {_prompt(question, ask)} ", end="", flush=True)
        else:
            # Nobody is there any more.
            return "q", {}
    return "", choices


def _choice(key: str, question: Question) -> int | None:
    if not key.isascii() or not key.isdigit():
        return None
    number = int(key)
    if number == 0 and 10 in question.choices:
        number = 10
    return number if number in question.choices else None


def _prompt(question: Question, ask: str) -> str:
    if ask == "preference":
        return "Which is better? 1 first, 2 second, 0 neither (? for keys):"
    if ask == "thumbs":
        return "Is it a good answer? 1 yes, 0 no (? for keys):"
    return harmless(f"{question.name} ({question.words}) {question.choices[0]} to {question.choices[-1]}:")


def _lines(shown: Shown, progress: Progress, rater: str) -> Iterator[str]:
    yield ""
    yield f"── {progress.answered} answered, {progress.left} left · {harmless(rater)} ──"
    if progress.week is not None:
        yield f"   {progress.week.says}"
    for message in shown.asked:
        yield from _text(message.role, message.text)
    for passage in shown.context:
        yield from _text("context", passage)
    names = ("FIRST", "SECOND") if len(shown.answers) > 1 else ("ANSWER",)
    for name, answer in zip(names, shown.answers, strict=True):
        yield ""
        yield f"{name}"
        yield from _text("", answer or "(empty)")
    yield ""
    if shown.given is not None:
        yield "  you have answered this one; an answer now takes its place"


def _text(who: str, text: str) -> Iterator[str]:
    first, *more = text.splitlines() or [""]
    yield f"  {who}: {harmless(first)}" if who else f"  {harmless(first)}"
    for line in more:
        yield f"  {harmless(line)}"


@contextmanager
def _keys() -> Iterator[Iterator[str]]:
    """The keys as they are pressed, one by one; the terminal is as before afterwards."""
    try:
        import termios
        import tty
    except ModuleNotFoundError:
        raise UsageError(
            "this system has no terminal that keys can be read from; serve a page instead"
        ) from None
    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    # Ctrl-C still interrupts: what was answered is kept.
    tty.setcbreak(handle)
    try:
        yield iter(lambda: os.read(handle, 1).decode("ascii", "replace"), "")
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)
