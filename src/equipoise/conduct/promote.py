"""Promote: a live turn becomes a golden case, so that what went wrong once is asked of every variant from then on."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from equipoise.arena.case import CaseSet
from equipoise.arena.cases import read_cases
from equipoise.clock import Clock
from equipoise.conduct.conversation import Conversation, ToldTurn, conversation
from equipoise.conduct.judging.sampled import asked, input_of
from equipoise.errors import DataError, UsageError
from equipoise.events.facts import Registration
from equipoise.events.log import EventLog
from equipoise.events.texts import Text, TextStore
from equipoise.experiment.definition import Experiment
from equipoise.experiment.offline import Cases
from equipoise.experiment.reading import read_canonical

__all__ = ["Promoted", "promote"]

_LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoted:
    """The case that was added, and the set it was added to: how many cases, their digest.

    `lacks` says in sentences what is not as in the turn, or is still to be written.
    """

    case: str
    file: str
    cases: int
    digest: str
    lacks: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "case": self.case,
            "file": self.file,
            "cases": self.cases,
            "digest": self.digest,
            "lacks": list(self.lacks),
        }


def promote(
    log: EventLog,
    texts: TextStore | None,
    what: str,
    file: Path,
    *,
    reference: str | None = None,
    must_pass: bool = False,
    clock: Clock | None = None,
) -> Promoted:
    """Add the turn of a trace (or of an event id) to a file of golden cases in JSON lines, made where there is none.

    The case has what was asked, without the instruction of the turn's variant; what was retrieved; the `reference`, where
    one is given; and as its value `origin` the trace, the experiment, the variant, the answer and its scores. Text is as it
    was kept, redacted. The file is replaced by one that the arena has read, or stays as it was.

    RecordError where nothing is of that name; UsageError where the turn has no text, where several turns are meant, where
    the file is not of JSON lines or cannot be written; DataError where it is no file of cases, or has the case already.
    """
    if file.suffix.lower() not in _LINES:
        raise UsageError(
            f"{file} is not a file of JSON lines, to which a case can be added; accepted: a name that ends in .jsonl or "
            ".ndjson. Cases of another form stay readable beside it: write them as JSON lines once"
        )
    told = conversation(log, texts, what, clock=clock)
    turn = _one(told, what)
    text = turn.text
    if text is None:
        raise UsageError(f"the turn of trace {turn.turn.trace} cannot become a case: {turn.why_not}")
    experiment = _definition(log, turn.turn.digest)
    spec = Cases(file=file.name)
    if experiment is not None and experiment.offline is not None:
        own = experiment.offline.cases
        if own.format in (None, "own"):
            spec = replace(own, file=file.name, format="own", sha256=None)
    name = f"live-{text.trace if what == text.trace else text.event_id}"
    row = _row(spec, name, told, turn, text, experiment, reference=reference, must_pass=must_pass)
    with _alone(file):
        before = _there(file)
        _require_new(spec, file, row, text, empty=not before.strip())
        content = before + b"\n" * (before != b"" and not before.endswith(b"\n")) + orjson.dumps(row) + b"\n"
        cases = _replaced(spec, file, content)
    pinned = experiment.offline.cases.sha256 if experiment is not None and experiment.offline else None
    return Promoted(
        case=name,
        file=str(file),
        cases=len(cases),
        digest=cases.digest,
        lacks=tuple(_lacks(text, reference, pinned=pinned is not None)),
    )


def _one(told: Conversation, what: str) -> ToldTurn:
    """The turn that is meant: the only one, or the only one with a text."""
    turns = [each for each in told.turns if each.turn.kind == "turn"]
    kept = [each for each in turns if each.text is not None] or turns
    if len(kept) == 1:
        return kept[0]
    if not kept:
        raise UsageError(f"'{what}' is a shadow, which nobody saw; promote the turn of the same trace")
    raise UsageError(
        f"'{what}' has {len(kept)} turns, and a case is one; name it by its event id: "
        + ", ".join(each.turn.event_id for each in kept)
    )


def _definition(log: EventLog, digest: str | None) -> Experiment | None:
    for record in log.read_since(0, kinds=("registration",)):
        if isinstance(record.fact, Registration) and record.fact.digest == digest:
            return read_canonical(record.fact.definition)
    return None


def _row(
    spec: Cases,
    name: str,
    told: Conversation,
    turn: ToldTurn,
    text: Text,
    experiment: Experiment | None,
    *,
    reference: str | None,
    must_pass: bool,
) -> dict[str, Any]:
    said = text.request if experiment is None else asked(text, experiment)
    if not any(each.text.strip() for each in said):
        raise UsageError(
            f"the turn of trace {text.trace} asked nothing in words, and a case has to ask something"
        )
    given = input_of(said)
    row: dict[str, Any] = {
        spec.id: name,
        spec.input: given if isinstance(given, str) else list(given),
    }
    if reference is not None or spec.reference is not None:
        row[spec.reference or "reference"] = reference
    if text.context:
        row["context"] = list(text.context)
    if must_pass:
        row["must_pass"] = True
    return row | {"tags": ["live"], "origin": _origin(told, turn, text)}


def _origin(told: Conversation, turn: ToldTurn, text: Text) -> dict[str, Any]:
    scores: dict[str, Any] = {
        score.name: score.value if score.value is not None else score.why_not
        for score in told.scores
        if score.trace == text.trace
    }
    return {
        "trace": text.trace,
        "experiment": text.experiment,
        "digest": text.digest,
        "variant": text.variant,
        "happened": text.happened,
        "model": turn.turn.model,
        "answer": text.answer,
        "scores": scores,
    }


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """One at a time adds to the files of a folder: of two, neither loses what the other added."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file.parent, os.O_RDONLY)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror or error}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _there(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from None


def _require_new(spec: Cases, file: Path, row: Mapping[str, Any], text: Text, *, empty: bool) -> None:
    """DataError where the file has the turn, or another case that asks the same."""
    if empty:
        return
    for case in read_cases(spec, file.parent):
        origin = case.values.get("origin")
        turn = isinstance(origin, Mapping) and origin.get("trace") == text.trace
        same = list(case.messages) == _messages(row[spec.input]) and list(case.context) == row.get(
            "context", []
        )
        if case.id == row[spec.id] or (turn and same):
            raise DataError(f"{file} has the turn of trace {text.trace} already, as case '{case.id}'")
        if same:
            raise DataError(
                f"{file} has a case that asks the same: '{case.id}'. Give that one the reference or the checks that it lacks"
            )


def _messages(given: Any) -> list[Any]:
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given)


def _replaced(spec: Cases, file: Path, content: bytes) -> CaseSet:
    """Put the new content in the file's place, once the arena's own reader has read it."""
    try:
        mode = file.stat().st_mode & 0o777 if file.exists() else None
        with TemporaryDirectory(dir=file.parent, prefix=f".{file.name}.") as folder:
            part = Path(folder) / file.name
            with open(part, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            cases = read_cases(spec, part.parent)
            if mode is not None:
                part.chmod(mode)
            # A link stays one: the file that it names is replaced.
            os.replace(part, file.resolve())
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror or error}") from None
    return cases


def _lacks(text: Text, reference: str | None, *, pinned: bool) -> Iterator[str]:
    if reference is None:
        yield (
            "there is no right answer: what compares with a reference leaves the case unscored until one is written "
            "under `reference`; the answer that was given stands under `origin`"
        )
    if text.redacted:
        found = ", ".join(f"{kind}: {count}" for kind, count in text.redacted.items())
        yield f"personal data was replaced by its kind ({found}); invent some where the case depends on it"
    if text.omitted or text.cut:
        yield f"it is not all that was asked: messages left out: {text.omitted}, texts cut: {text.cut}"
    if text.tools:
        yield "the answer called tools, and the arena offers none; let your application answer (`offline.answers`)"
    if pinned:
        yield "the definition pins its cases (`cases.sha256`), and a run on these is invalid until that is their digest"
