"""Runs made earlier, read back for comparing: our own, promptfoo's output and Inspect's logs."""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from equipoise.errors import DataError, MissingExtraError
from equipoise.providers.rows import read_bytes

__all__ = ["Arm", "KeptRun", "read_run"]

_ACCEPTED = (
    "NAME.arena.json of `equipoise arena`, the JSON of `promptfoo eval -o`, or an .eval log of Inspect"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One variant of a run: by measure and case the mean over samples; `unscored` counts what has none.

    `asked` and `answers` hold texts by case, where the file has them.
    """

    name: str
    values: Mapping[str, Mapping[str, float]]
    unscored: Mapping[str, int] = field(default_factory=dict)
    clusters: Mapping[str, str] = field(default_factory=dict)
    asked: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRun:
    """A run as it was kept: where it was read from, by which tool it was made, and its arms by name."""

    origin: str
    tool: str
    digest: str
    arms: tuple[Arm, ...]


@dataclass
class _Filling:
    """An arm while it is read: every sample's values, by measure and case."""

    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    unscored: dict[str, int] = field(default_factory=dict)
    clusters: dict[str, str] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)

    def add(self, measure: str, case: str, value: float | None) -> None:
        if value is None or not math.isfinite(value):
            self.unscored[measure] = self.unscored.get(measure, 0) + 1
        else:
            self.samples.setdefault(measure, {}).setdefault(case, []).append(value)

    def arm(self, name: str) -> Arm:
        return Arm(
            name=name,
            values={
                measure: {case: math.fsum(values) / len(values) for case, values in cases.items()}
                for measure, cases in self.samples.items()
            },
            unscored=dict(self.unscored),
            clusters=self.clusters,
            asked=self.asked,
            answers=self.answers,
        )


def read_run(path: Path) -> KeptRun:
    """Read a run, whichever of the tools made it. Raises DataError for anything else."""
    raw, digest = read_bytes(path, what="the run")
    if zipfile.is_zipfile(path):
        return KeptRun(origin=path.name, tool="Inspect", digest=digest, arms=_inspect(path))
    try:
        kept = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise DataError(f"the run {path} is not JSON: {error}. Accepted: {_ACCEPTED}") from None
    if isinstance(kept, Mapping):
        if kept.get("equipoise") == "arena":
            return KeptRun(origin=path.name, tool="Equipoise", digest=digest, arms=_own(kept, path))
        results = kept.get("results")
        listed = results.get("results") if isinstance(results, Mapping) else results
        if isinstance(listed, list) and listed and isinstance(listed[0], Mapping) and "success" in listed[0]:
            return KeptRun(origin=path.name, tool="promptfoo", digest=digest, arms=_promptfoo(listed, path))
        if "eval" in kept and isinstance(kept.get("samples"), list):
            arms = _inspect_samples(iter(kept["samples"]), kept["eval"], path)
            return KeptRun(origin=path.name, tool="Inspect", digest=digest, arms=arms)
    raise DataError(f"the run {path} is of no kind this reads. Accepted: {_ACCEPTED}")


def _own(kept: Mapping[str, Any], path: Path) -> tuple[Arm, ...]:
    filling: dict[str, _Filling] = {name: _Filling() for name in kept["variants"]}
    try:
        for case in kept["by_case"]:
            for name, samples in case.get("scores", {}).items():
                arm = filling[name]
                if case.get("cluster") is not None:
                    arm.clusters[case["id"]] = case["cluster"]
                arm.asked[case["id"]] = case.get("asked", "")
                arm.answers[case["id"]] = next(iter(case.get("answers", {}).get(name) or [""])) or ""
                for scores in samples:
                    for measure, score in scores.items():
                        arm.add(measure, case["id"], score.get("value"))
                passed = case.get("passed", {}).get(name)
                if passed is not None:
                    arm.add("pass_rate", case["id"], passed)
            for name, compared in case.get("comparisons", {}).items():
                for comparison in compared:
                    filling[name].add("win_rate", case["id"], comparison.get("score"))
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"the run {path} is not whole: {type(error).__name__} {error}. Run the arena again"
        ) from None
    return tuple(each.arm(name) for name, each in filling.items())


def _promptfoo(listed: list[Any], path: Path) -> tuple[Arm, ...]:
    """One arm for each prompt of each provider; cases are told apart by their variables."""
    filling: dict[str, _Filling] = {}
    labels = {_label(row) for row in listed}
    providers = {_provider(row) for row in listed}
    # Written as they were answered: in the order of prompts the first stays the first.
    listed = sorted(listed, key=lambda row: (row.get("promptIdx", 0), row.get("testIdx", 0)))
    for number, row in enumerate(listed):
        try:
            label, provider = _label(row), _provider(row)
            shown = [label] if len(labels) > 1 or len(providers) == 1 else []
            name = " · ".join([*shown, *([provider] if len(providers) > 1 else [])])
            arm = filling.setdefault(name, _Filling())
            case = _case_of(row)
            failed = row.get("error") and not row.get("gradingResult")
            arm.add("pass_rate", case, None if failed else float(bool(row["success"])))
            arm.add("score", case, None if failed else float(row["score"]))
            for measure, value in (row.get("namedScores") or {}).items():
                arm.add(str(measure), case, None if failed else float(value))
            arm.asked[case] = case
            output = (row.get("response") or {}).get("output")
            arm.answers[case] = output if isinstance(output, str) else orjson.dumps(output).decode()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"the run {path}, result {number + 1} is not one of promptfoo's: {type(error).__name__} {error}. "
                "Write it again with `promptfoo eval -o FILE.json`"
            ) from None
    return tuple(each.arm(name) for name, each in filling.items())


def _label(row: Any) -> str:
    prompt = row.get("prompt") or {}
    return str(prompt.get("label") or prompt.get("raw") or row.get("promptIdx", ""))


def _provider(row: Any) -> str:
    provider = row.get("provider") or {}
    return str(provider.get("label") or provider.get("id") if isinstance(provider, Mapping) else provider)


def _case_of(row: Any) -> str:
    tested = row.get("testCase") or {}
    named = tested.get("description")
    variables = row.get("vars") or tested.get("vars") or {}
    told = orjson.dumps(variables, option=orjson.OPT_SORT_KEYS).decode()
    return f"{named} {told}" if named else told


def _inspect(path: Path) -> tuple[Arm, ...]:
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        names = archive.namelist()
        if "header.json" not in names:
            raise DataError(
                f"the log {path} has no header.json: it is of a run that did not end. Accepted: {_ACCEPTED}"
            )
        header = orjson.loads(_member(archive, file, "header.json", path))
        samples = (
            orjson.loads(_member(archive, file, name, path)) for name in names if name.startswith("samples/")
        )
        return _inspect_samples(samples, header["eval"], path)


_ZSTANDARD = 93


def _member(archive: zipfile.ZipFile, file: BinaryIO, name: str, path: Path) -> bytes:
    """A member of the archive; Inspect packs them by Zstandard, which the standard library cannot unpack."""
    entry = archive.getinfo(name)
    if entry.compress_type != _ZSTANDARD:
        return archive.read(entry)
    try:
        import pyarrow as pa
    except ModuleNotFoundError as error:
        raise MissingExtraError("an .eval log packed by Zstandard") from error
    file.seek(entry.header_offset)
    head = file.read(30)
    name_length, extra_length = struct.unpack("<HH", head[26:30])
    file.seek(name_length + extra_length, 1)
    packed = file.read(entry.compress_size)
    try:
        unpacked: bytes = pa.decompress(packed, decompressed_size=entry.file_size, codec="zstd", asbytes=True)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"the log {path} is damaged at {name}: {error}. Copy it again") from None
    return unpacked


_LETTERS = {"C": 1.0, "I": 0.0, "P": 0.5, "N": None}
"""Inspect's grades: correct, incorrect, partial, no answer."""


def _inspect_samples(samples: Iterator[Any], header: Mapping[str, Any], path: Path) -> tuple[Arm, ...]:
    """One arm; epochs are samples of a case."""
    arm = _Filling()
    number = 0
    for number, sample in enumerate(samples, 1):
        try:
            case = str(sample["id"])
            for scorer, score in (sample.get("scores") or {}).items():
                for measure, value in _values(str(scorer), score["value"]):
                    arm.add(measure, case, value)
            asked = sample.get("input")
            arm.asked[case] = asked if isinstance(asked, str) else orjson.dumps(asked).decode()
            arm.answers[case] = str((sample.get("output") or {}).get("completion") or "")
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"the log {path}, sample {number} is not one of Inspect's: {type(error).__name__} {error}"
            ) from None
    if not number:
        raise DataError(f"the log {path} holds no sample. Accepted: {_ACCEPTED}")
    return (arm.arm(f"{header.get('task', 'task')} ({header.get('model', 'model')})"),)


def _values(scorer: str, value: Any) -> Iterator[tuple[str, float | None]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _values(f"{scorer}.{name}", inner)
    elif isinstance(value, str):
        try:
            yield scorer, _LETTERS[value] if value in _LETTERS else float(value)
        except ValueError:
            yield scorer, None
    elif isinstance(value, bool | int | float):
        yield scorer, float(value)
    else:
        yield scorer, None
