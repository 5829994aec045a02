"""Promoting a live turn: what the case holds, what is refused, and that the file is whole whatever happens."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from judged import judged, text, turn

from equipoise.arena.cases import read_cases
from equipoise.conduct.promote import promote
from equipoise.conduct.register import register
from equipoise.errors import DataError, EquipoiseError, UsageError
from equipoise.events.facts import Score
from equipoise.events.log import MemoryLog
from equipoise.events.opening import open_texts
from equipoise.events.texts import Said
from equipoise.experiment.offline import Cases

CASE = {"id": "one", "input": "Is it far?"}


class World:
    """A log with a few turns of a registered experiment, and their texts."""

    def __init__(self, **more) -> None:
        self.log, self.texts = MemoryLog(), open_texts("memory:")
        self.experiment = judged(**more)
        register(self.log, self.experiment, by="test", reason="a test")

    def turn(self, number: int, question: str = "May I?", **more) -> str:
        fact = turn(
            number, self.experiment, happened=4e9, **{key: more.pop(key) for key in ("trace",) if key in more}
        )
        self.log.append([fact])
        request = (Said("system", "Be brief."), Said("user", question))
        self.texts.keep([text(fact, self.experiment, **({"request": request, "tools": ()} | more))])
        return fact.trace or ""

    def promote(self, what: str, file: Path, **more):
        return promote(self.log, self.texts, what, file, **more)


def test_the_case_holds_what_was_asked_and_where_it_comes_from(tmp_path):
    """By the definition's own column names; without the variant's instruction; with its scores and its reference."""
    world = World(
        offline={"cases": {"file": "x.jsonl", "id": "name", "input": "question", "reference": "answer"}}
    )
    trace = world.turn(1)
    world.log.append([
        Score(experiment="bot", happened=1.0, unit="u1", name="policy", value=2.0, evaluator="rubric@1", trace=trace),
        Score(experiment="bot", happened=1.0, unit="u1", name="tone", evaluator="rubric@1", why_not="no JSON", trace=trace),
        Score(experiment="bot", happened=1.0, unit="u1", name="tone", value=1.0, evaluator="rubric@1", trace="another"),
    ])  # fmt: skip
    done = world.promote(trace, tmp_path / "new" / "golden.jsonl", reference="No.", must_pass=True)
    assert (done.case, done.cases, done.lacks) == (f"live-{trace}", 1, ())
    assert json.loads((tmp_path / "new" / "golden.jsonl").read_text()) == {
        "name": f"live-{trace}", "question": "May I?", "answer": "No.", "context": ["The policy says no."],
        "must_pass": True, "tags": ["live"],
        "origin": {
            "trace": trace, "experiment": "bot", "digest": world.experiment.digest, "variant": "treatment",
            "happened": 4e9, "model": None, "answer": "By policy, no.", "scores": {"policy": 2.0, "tone": "no JSON"},
        },
    }  # fmt: skip
    spec = Cases(file="golden.jsonl", id="name", input="question", reference="answer")
    cases = read_cases(spec, tmp_path / "new")
    assert cases.digest == done.digest
    assert [(each.id, each.reference, each.must_pass, each.context) for each in cases] == [
        (f"live-{trace}", "No.", True, ("The policy says no.",))
    ]


def test_a_conversation_is_a_case_of_messages(tmp_path):
    """What was said before belongs to what was asked."""
    world = World()
    said = (
        Said("system", "Be brief."),
        Said("user", "Hi"),
        Said("assistant", "Hello"),
        Said("user", "May I?"),
    )
    trace = world.turn(1, request=said)
    world.promote(trace, tmp_path / "golden.jsonl")
    assert json.loads((tmp_path / "golden.jsonl").read_text())["input"] == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "May I?"},
    ]


def test_a_case_is_added_behind_what_is_there(tmp_path):
    """Whether or not the last line ends; nothing of the rest changes, nor who may read the file."""
    file = tmp_path / "golden.jsonl"
    file.write_text(json.dumps(CASE))
    file.chmod(0o640)
    world = World()
    first, second = world.turn(1, "May I?"), world.turn(2, "May she?")
    assert world.promote(first, file).cases == 2
    assert world.promote(second, file).cases == 3
    lines = file.read_text().splitlines()
    assert lines[0] == json.dumps(CASE)
    assert [json.loads(line)["input"] for line in lines] == ["Is it far?", "May I?", "May she?"]
    assert file.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["golden.jsonl"]


def test_of_those_who_promote_at_once_none_loses_a_case(tmp_path):
    """Sixteen turns by eight threads are sixteen cases."""
    world = World()
    traces = [world.turn(number, f"May I, {number}?") for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda trace: world.promote(trace, tmp_path / "golden.jsonl"), traces))
    assert len(read_cases(Cases(file="golden.jsonl"), tmp_path)) == 16


def test_what_is_not_as_in_the_turn_is_said(tmp_path):
    """Redaction, what was left out, tools, a missing answer, a pinned digest."""
    world = World(offline={"cases": {"file": "golden.jsonl", "sha256": "0" * 64}})
    trace = world.turn(1, redacted={"IBAN": 2}, omitted=3, cut=1, tools=text(turn(9, world.experiment, happened=1.0), world.experiment).tools)  # fmt: skip
    assert world.promote(trace, tmp_path / "golden.jsonl").lacks == (
        (
            "there is no right answer: what compares with a reference leaves the case unscored until one is written under "
            "`reference`; the answer that was given stands under `origin`"
        ),
        "personal data was replaced by its kind (IBAN: 2); invent some where the case depends on it",
        "it is not all that was asked: messages left out: 3, texts cut: 1",
        "the answer called tools, and the arena offers none; let your application answer (`offline.answers`)",
        "the definition pins its cases (`cases.sha256`), and a run on these is invalid until that is their digest",
    )


def refused(world: World, what: str, file: Path) -> str:
    before = file.read_bytes() if file.is_file() else None
    with pytest.raises(EquipoiseError) as error:
        world.promote(what, file)
    assert isinstance(error.value, UsageError | DataError)
    assert (file.read_bytes() if file.is_file() else None) == before
    return str(error.value)


def test_what_cannot_become_a_case_is_refused_and_the_file_stays(tmp_path):
    """Each with what to do."""
    world, file = World(), tmp_path / "golden.jsonl"
    trace = world.turn(1)
    assert refused(world, trace, tmp_path / "golden.yaml") == (
        f"{tmp_path}/golden.yaml is not a file of JSON lines, to which a case can be added; accepted: a name that ends in .jsonl "
        "or .ndjson. Cases of another form stay readable beside it: write them as JSON lines once"
    )
    file.write_text('{"id": "one", "question": "Is it far?"}\n')
    assert refused(world, trace, file) == (
        f"the golden cases {file}, line 1: there is no column 'inputs'. It has: id, question"
    )
    file.write_text('{"id": "one", "input": "May I?", "context": "The policy says no."}\n')
    assert refused(world, trace, file) == (
        f"{file} has a case that asks the same: 'one'. Give that one the reference or the checks that it lacks"
    )
    file.unlink()
    world.log.append([turn(5, world.experiment, happened=4e9)])
    assert refused(world, f"{5:032x}", file) == (
        f"the turn of trace {5:032x} cannot become a case: it was drawn, with probability 1, and its text is not there: it was "
        "purged, lost on its way (the gateway's /healthz counts those), or is kept elsewhere"
    )
    assert refused(world, world.turn(6, "  "), file) == (
        f"the turn of trace {6:032x} asked nothing in words, and a case has to ask something"
    )
    file.mkdir()
    assert refused(world, trace, file) == f"{file} cannot be read: Is a directory"


def test_of_a_trace_with_several_turns_one_has_to_be_named(tmp_path):
    """By its event id, which then names the case."""
    world, file = World(), tmp_path / "golden.jsonl"
    world.turn(1, "May I?", trace="a" * 32)
    world.turn(2, "May she?", trace="a" * 32)
    assert refused(world, "a" * 32, file) == (
        f"'{'a' * 32}' has 2 turns, and a case is one; name it by its event id: turn-1, turn-2"
    )
    assert world.promote("turn-2", file).case == "live-turn-2"
    assert json.loads(file.read_text())["input"] == "May she?"
    assert world.promote("turn-1", file).case == "live-turn-1"
