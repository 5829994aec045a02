"""YAML where it is treacherous, and files that are not what they should be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from equipoise.errors import DefinitionError
from equipoise.experiment.document import read_document
from equipoise.experiment.reading import load_experiment, read_definition

BASE = """\
name: demo
hypothesis: A newer model resolves more.
unit: user
changes: [model, config]
variants:
  control: {model: a}
  treatment: {model: b, config: {value: VALUE}}
metrics:
  resolution_rate: {priority: primary}
"""


def value_of(text: str) -> Any:
    """What the reader makes of one scalar; it has no fault."""
    document = read_document(f"value: {text}\n", "e.yaml")
    assert document.faults == []
    return document.data["value"]


def said(folder: Path, raw: str | bytes) -> str:
    path = folder / "e.yaml"
    path.write_bytes(raw.encode("utf-8") if isinstance(raw, str) else raw)
    with pytest.raises(DefinitionError) as refused:
        read_definition(path)
    return str(refused.value).replace(str(path), "e.yaml")


@pytest.mark.parametrize(
    "text, value",
    [
        ("5", 5), ("-5", -5), ("+5", 5), ("0", 0), ("0.5", 0.5), (".5", 0.5), ("5.", 5.0), ("1e-3", 0.001), ("1E3", 1000.0),
        ("-1.5e+2", -150.0), ("9007199254740991", 2**53 - 1), ("1.0", 1.0),
        ("017", "017"), ("0o17", "0o17"), ("0x1F", "0x1F"), ("0b1", "0b1"), ("1_000", "1_000"), ("00", "00"), ("-01", "-01"),
        ("1:30", "1:30"), ("190:20:30", "190:20:30"), ("1:30.5", "1:30.5"),
        ("2024-01-01", "2024-01-01"), ("2024-01-01 10:00:00", "2024-01-01 10:00:00"),
        (".nan", ".nan"), (".inf", ".inf"), ("-.INF", "-.INF"), ("1e999", "1e999"), ("nan", "nan"),
        ("y", "y"), ("n", "n"), ("Y", "Y"), ("oN", "oN"), ("t", "t"), ("=", "="), ("<<", "<<"),
        ("true", True), ("True", True), ("FALSE", False), ("null", None), ("~", None), ("", None), ("Null", None),
        ("'5'", "5"), ('"on"', "on"), ("'null'", "null"), ("!!str 5", "5"), ("!!str null", "null"), ("!!str on", "on"), ("|\n  on\n", "on\n"),
        ("50%", "50%"), ("'@a'", "@a"), ("é", "é"), ('"\\ud83d\\ude00"', "😀"), ('"\\U0001F600"', "😀"),
    ],
)  # fmt: skip
def test_a_scalar_is_what_it_looks_like(text: str, value: Any) -> None:
    """Numbers are decimal, words are words: no octal, no sexagesimal, no dates, no infinities."""
    found = value_of(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("word", ["on", "off", "yes", "no", "On", "OFF", "Yes", "NO"])
def test_a_bare_switch_is_refused(word: str, tmp_path: Path) -> None:
    """YAML makes a bare on, off, yes or no a boolean; it is refused as a value and as a key."""
    assert said(tmp_path, BASE.replace("VALUE", word)) == (
        f"e.yaml:7: variants.treatment.config.value: a bare `{word}` is a boolean to YAML; "
        f"write true or false, or '{word}' in quotes"
    )
    assert said(tmp_path, BASE.replace("value: VALUE", f"{word}: 1")) == (
        f"e.yaml:7: variants.treatment.config.{word}: a bare `{word}` is a boolean to YAML; write '{word}' in quotes"
    )


def test_a_parameter_called_n_is_a_word(tmp_path: Path) -> None:
    """`n` is a parameter of chat completions, and no YAML reader in use makes it a boolean."""
    (tmp_path / "e.yaml").write_text(BASE.replace("{value: VALUE}", "{n: 2, x: 1, y: 2}"), "utf-8")
    assert dict(load_experiment(tmp_path / "e.yaml").treatments[0].config) == {"n": 2, "x": 1, "y": 2}


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(8)
)
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i + 1}: &a{i + 1} {{{', '.join([f'<<: *a{i}'] * 8)}}}\n" for i in range(12)
)

TEXTS: list[tuple[str, str | bytes, str]] = [
    ("a key that stands twice", BASE.replace("VALUE", "1") + "name: other\n", "e.yaml:10: name: the key 'name' stands twice; keep one of them"),
    ("an inner key that stands twice", BASE.replace("VALUE", "1, value: 2"),
     "e.yaml:7: variants.treatment.config.value: the key 'value' stands twice; keep one of them"),
    ("a number and a text as one key", BASE.replace("value: VALUE", "1: a, '1': b"),
     "e.yaml:7: variants.treatment.config.1: the key '1' stands twice; keep one of them"),
    ("a tag that builds an object", BASE.replace("VALUE", "!!python/object/apply:os.system [ls]"),
     ("e.yaml:7: variants.treatment.config.value: the tag !!python/object/apply:os.system is refused: "
     "a definition holds plain values, it builds no objects; remove the tag")),
    ("a tag that names a function", BASE.replace("VALUE", "!!python/name:os.system x"),
     ("e.yaml:7: variants.treatment.config.value: the tag !!python/name:os.system is refused: "
     "a definition holds plain values, it builds no objects; remove the tag")),
    ("a tag of one's own", BASE.replace("VALUE", "!secret {a: b}"),
     ("e.yaml:7: variants.treatment.config.value: the tag !secret is refused: "
     "a definition holds plain values, it builds no objects; remove the tag")),
    ("a set", BASE.replace("VALUE", "!!set {a, b}"),
     ("e.yaml:7: variants.treatment.config.value: the tag !!set is refused: "
     "a definition holds plain values, it builds no objects; remove the tag")),
    ("binary", BASE.replace("VALUE", "!!binary aGk="),
     ("e.yaml:7: variants.treatment.config.value: the tag !!binary is refused: "
     "a definition holds plain values, it builds no objects; remove the tag")),
    ("an alias bomb", BOMB, "e.yaml:1: aliases make this document unfold without end; write the values out"),
    ("a bomb of merges", MERGE_BOMB, "e.yaml:1: aliases make this document unfold without end; write the values out"),
    ("an alias of itself", "name: &n [*n]\n", "e.yaml:1: aliases make this document unfold without end; write the values out"),
    ("a merge of itself", "name: &n\n  <<: *n\n", "e.yaml:1: aliases make this document unfold without end; write the values out"),
    ("an alias of nothing", "name: *x\n", "e.yaml:1: this is not YAML: found undefined alias 'x'"),
    ("an anchor that stands twice", "a: &a 1\nb: &a 2\n", "e.yaml:2: this is not YAML: found duplicate anchor 'a'"),
    ("a tab", "name: x\nvariants:\n\tcontrol: {}\n", "e.yaml:3: this is not YAML: found character '\\t' that cannot start any token"),
    ("an open bracket", "name: [x\n", "e.yaml:2: this is not YAML: expected ',' or ']', but got '<stream end>'"),
    ("two documents", "name: x\n---\nname: y\n", "e.yaml:2: this is not YAML: expected a single document in the stream, but found another document"),
    ("a NUL", "name: a\0b\n", 'e.yaml: this is not YAML: unacceptable character #x0000: special characters are not allowed in "<unicode string>", position 7'),
    ("endless nesting", "[" * 5000, "e.yaml: this YAML is nested too deeply to read"),
    ("nothing", "", "e.yaml: the file is empty; start from `equipoise init`"),
    ("only a comment", "# later\n", "e.yaml: the file is empty; start from `equipoise init`"),
    ("half a character", BASE.replace("VALUE", '"\\ud83d!"'),
     "e.yaml:7: variants.treatment.config.value: this text holds half a character (a lone surrogate); write the whole character"),
    ("an integer beyond JSON", BASE.replace("VALUE", "9007199254740993"),
     "e.yaml:7: variants.treatment.config.value: 9007199254740993 is beyond the integers that JSON keeps exactly; write it in quotes"),
    ("an endless integer", BASE.replace("VALUE", "9" * 5000),
     ("e.yaml:7: variants.treatment.config.value: 999999999999999999999999999999999999999999999999999999999… "
     "is beyond the integers that JSON keeps exactly; write it in quotes")),
    ("a list as a key", BASE.replace("value: VALUE", "? [a] : b"), "e.yaml:7: variants.treatment.config: a key must be a word, and this is a list or a mapping"),
    ("a merge of a list", BASE.replace("value: VALUE", "<<: [{a: 1}]"), "e.yaml:7: variants.treatment.config: `<<` merges one mapping, and this is something else"),
    ("bytes that are not UTF-8", b"name: demo\nhypothesis: caf\xe9\n",
     "the definition e.yaml is not UTF-8 text: line 2 has the byte 0xe9; save it as UTF-8; `equipoise init` writes a folder to start from"),
    ("UTF-16", "name: demo".encode("utf-16"),
     "the definition e.yaml is not UTF-8 text: line 1 has the byte 0xff; save it as UTF-8; `equipoise init` writes a folder to start from"),
]  # fmt: skip


@pytest.mark.parametrize("raw, sentence", [row[1:] for row in TEXTS], ids=[row[0] for row in TEXTS])
def test_a_treacherous_file_is_refused_in_one_sentence(
    raw: str | bytes, sentence: str, tmp_path: Path
) -> None:
    """Whatever YAML would do with it, the reader says what is wrong, and where it can."""
    assert said(tmp_path, raw) == sentence


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "just words\n", "5\n", "---\n"])
def test_a_definition_is_a_mapping(text: str, tmp_path: Path) -> None:
    """A list, a word, a number or nothing at the top is refused with the keys that are expected."""
    assert said(tmp_path, text).split(": ", 1)[1] == (
        "a definition is a mapping of keys to values; accepted: allocation, assignment_version, attributes, bandit, capture, changes, "
        "cluster, critical_segments, holdouts, hypothesis, inline, interleaving, layer, method, metrics, name, offline, online_judge, pins, "
        "plan, prices, rollout, segments, source, switchback, target, traffic, unit, variants, verdict, watches"
    )


@pytest.mark.parametrize("turn", ["\ufeff{}", "{}\n\n# end\n", "---\n{}...\n"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_marks_and_line_ends_do_not_matter(turn: str, newline: str, tmp_path: Path) -> None:
    """A byte order mark, CRLF and document marks read like the plain file, with the same line numbers."""
    plain = BASE.replace("VALUE", "1")
    (tmp_path / "plain.yaml").write_text(plain, "utf-8")
    (tmp_path / "e.yaml").write_bytes(turn.replace("{}", plain).replace("\n", newline).encode("utf-8"))
    assert load_experiment(tmp_path / "e.yaml") == load_experiment(tmp_path / "plain.yaml")


def test_a_merge_inside_a_merge_is_followed(tmp_path: Path) -> None:
    """A mapping's own keys win over merged ones, nearer merges over further ones; `<<` itself is no key."""
    document = read_document(
        "far: &far {a: 1, b: 1, c: 1}\nnear: &near {<<: *far, b: 2, c: 2}\nhere: {<<: *near, c: 3}\n",
        "e.yaml",
    )
    assert document.faults == []
    assert document.data["here"] == {"a": 1, "b": 2, "c": 3}


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    """The path, and what to do instead."""
    path = tmp_path / "absent.yaml"
    with pytest.raises(DefinitionError) as refused:
        read_definition(path)
    assert (
        str(refused.value)
        == f"the definition {path} does not exist; `equipoise init` writes a folder to start from"
    )
    assert refused.value.exit_code == 2


def test_a_folder_is_not_a_definition(tmp_path: Path) -> None:
    """A folder in place of the file is named as such, and so is a file in place of a folder."""
    with pytest.raises(DefinitionError) as refused:
        read_definition(tmp_path)
    assert str(refused.value) == (
        f"the definition {tmp_path} is a folder, not a file; `equipoise init` writes a folder to start from"
    )
    (tmp_path / "file").write_text("x", "utf-8")
    with pytest.raises(DefinitionError) as inside:
        read_definition(tmp_path / "file" / "e.yaml")
    assert str(inside.value) == (
        f"the definition {tmp_path / 'file' / 'e.yaml'} cannot be read: Not a directory; "
        "`equipoise init` writes a folder to start from"
    )


def test_a_path_no_file_can_have_is_one_sentence(tmp_path: Path) -> None:
    """A NUL in a path is the path's fault and says so."""
    with pytest.raises(DefinitionError) as refused:
        read_definition(str(tmp_path / "a\0b.yaml"))
    assert str(refused.value) == (
        f"the definition {tmp_path}/a\0b.yaml cannot be read: embedded null byte; "
        "`equipoise init` writes a folder to start from"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every file")
def test_a_file_without_permission_is_one_sentence(tmp_path: Path) -> None:
    """What the system says, in our sentence."""
    path = tmp_path / "e.yaml"
    path.write_text(BASE, "utf-8")
    path.chmod(0)
    with pytest.raises(DefinitionError) as refused:
        read_definition(path)
    assert str(refused.value) == (
        f"the definition {path} cannot be read: Permission denied; `equipoise init` writes a folder to start from"
    )


@pytest.mark.parametrize(
    "name, content, sentence",
    [
        (
            "bad.md",
            b"caf\xe9",
            "the prompt file {path} is not UTF-8 text: line 1 has the byte 0xe9; save it as UTF-8",
        ),
        ("folder", None, "the prompt file {path} is a folder, not a file"),
        ("absent.md", b"", "the prompt file {path} does not exist"),
    ],
)
def test_a_prompt_that_cannot_be_read_is_a_fault_of_its_line(
    name: str, content: bytes | None, sentence: str, tmp_path: Path
) -> None:
    """A prompt in another encoding, a folder or a missing file is reported where it is named."""
    if content is None:
        (tmp_path / name).mkdir()
    elif content:
        (tmp_path / name).write_bytes(content)
    text = BASE.replace("VALUE", "1").replace("{model: a}", f"{{model: a, system: {{file: {name}}}}}")
    text = text.replace("{model: b,", f"{{model: b, system: {{file: {name}}},")
    reason = sentence.format(path=tmp_path / name)
    assert said(tmp_path, text) == (
        "2 faults in the definition:\n"
        f"e.yaml:6: variants.control.system: {reason}\n"
        f"e.yaml:7: variants.treatment.system: {reason}"
    )


@pytest.mark.parametrize(
    "content, sentence",
    [
        ("", "{path}: the file is empty; start from `equipoise init`"),
        ("axes: {}\n", "{path}:1: axes: this is no part of a rubric; accepted: axes: {{NAME: a sentence, …}}, and top: a whole number from 2 to 10"),
        ("axes: {a b: x}\n", "{path}:1: axes.a b: this is no part of a rubric; accepted: axes: {{NAME: a sentence, …}}, and top: a whole number from 2 to 10"),
        ("axes: {a: x}\ntop: 11\n", "{path}:2: top: this is no part of a rubric; accepted: axes: {{NAME: a sentence, …}}, and top: a whole number from 2 to 10"),
        ("axes: {a: x}\nscale: 5\n", "{path}:2: scale: this is no part of a rubric; accepted: axes: {{NAME: a sentence, …}}, and top: a whole number from 2 to 10"),
        ("axes: {a: on}\n", "{path}:1: axes.a: a bare `on` is a boolean to YAML; write true or false, or 'on' in quotes"),
        ("axes: [\n", "{path}:2: this is not YAML: expected the node content, but found '<stream end>'"),
    ],
)  # fmt: skip
def test_a_rubric_that_is_none_is_refused(content: str, sentence: str, tmp_path: Path) -> None:
    """Faults of a rubric file name that file and its line; an empty file is not a rubric left out."""
    (tmp_path / "r.yaml").write_text(content, "utf-8")
    text = BASE.replace("VALUE", "1") + "offline: {cases: c.jsonl, rubric: r.yaml}\n"
    assert said(tmp_path, text) == sentence.format(path=tmp_path / "r.yaml")


@pytest.mark.parametrize(
    "content, sentence",
    [
        ("", "s.json is not JSON: Input is a zero-length, empty document: line 1 column 1 (char 0)"),
        ("{", "s.json is not JSON: unexpected end of data: line 1 column 2 (char 1)"),
        ("[1]", "s.json holds no JSON object; accepted: a JSON Schema, such as {…}"),
        ('"other.json"', "s.json holds no JSON object; accepted: a JSON Schema, such as {…}"),
    ],
)
def test_a_schema_that_is_none_is_refused(content: str, sentence: str, tmp_path: Path) -> None:
    """A reply is never checked against a schema that is empty, broken or no object."""
    (tmp_path / "s.json").write_text(content, "utf-8")
    text = BASE.replace("VALUE", "1") + "inline: [pii, {json_schema: s.json}]\n"
    assert said(tmp_path, text) == f"e.yaml:10: inline[1].json_schema: {sentence}"
