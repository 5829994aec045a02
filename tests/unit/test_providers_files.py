"""Recorded answers and the reading of rows: what is accepted, and the sentence for each kind of damage."""

from __future__ import annotations

import asyncio
import gzip
import json

import pytest

from equipoise.errors import DataError, UpstreamError
from equipoise.providers.messages import Request
from equipoise.providers.recorded import RecordedAnswers
from equipoise.providers.rows import read_rows

COLUMNS = {"case": "id", "variant": "arm", "value": "text"}


def write(path, data):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_jsonl_and_csv_plain_and_gzipped_say_the_same(tmp_path):
    """The four kinds of file give the same answers; whole-number ids become text."""
    text = 'Yes,\u2028\n"no"'
    jsonl = lines({"id": 1, "arm": "a", "text": text}).encode()
    csv = ('id,arm,text\r\n1,a,"Yes,\u2028\n""no"""\r\n').encode()
    for name, data in {
        "a.jsonl": jsonl, "a.jsonl.gz": gzip.compress(jsonl), "a.csv": csv, "a.csv.gz": gzip.compress(csv),
        "bom.csv": b"\xef\xbb\xbf" + csv,
    }.items():  # fmt: skip
        assert RecordedAnswers.read(write(tmp_path / name, data), **COLUMNS).find("1", "a") == text


def test_an_answer_longer_than_the_csv_modules_limit_is_read(tmp_path):
    """The standard limit of 128 KiB a field does not apply."""
    path = write(tmp_path / "long.csv", "id,arm,text\n1,a," + "x" * 300_000 + "\n")
    assert len(RecordedAnswers.read(path, **COLUMNS).find("1", "a")) == 300_000


@pytest.mark.parametrize(
    "name, data, words",
    [
        ("a.jsonl.gz", gzip.compress(b'{"id": 1}\n' * 900, mtime=0)[:40], "is a truncated gzip file. Copy or download it again"),
        ("a.jsonl.gz", b"plain", "is not a sound gzip file: Not a gzipped file (b'pl'). Copy or download it again"),
        ("a.jsonl", b'{"id": 1, "arm": "a", "text": ""}\n{"id": 2,\n', "line 2 is not JSON"),
        ("a.jsonl", b"[1]\n", "line 1 holds a list. Accepted: one JSON object on each line"),
        ("a.jsonl", b'{"id": 1, "arm": "a", "txt": ""}\n', "line 1: there is no column 'text'. It has: id, arm, txt; did you mean 'txt'?"),
        ("a.csv", b"id,arm,txt\n", "line 1: there is no column 'text'. It has: id, arm, txt; did you mean 'txt'?"),
        ("a.csv", b"id,arm,text\n1,a,x,y\n", "line 2 has 4 cells where the head has 3 columns"),
        ("a.csv", b'id,arm,text\n1,a,"x\n', "is not CSV"),
        ("a.csv", b"", "is empty. Accepted: a line of column names, then one row a line"),
        ("a.csv", b"id,id,text\n", "line 1 names the column 'id' twice. Rename one of them"),
        ("a.csv", b"id,arm,text\n1,a,\xe9\n", "is not UTF-8 text: line 2 has the byte 0xe9. Save it as UTF-8"),
        ("a.xlsx", b"", "is not a kind of file this reads. Accepted: .jsonl, .ndjson or .csv, each also with .gz"),
        ("a.jsonl", b'{"id": 1.5, "arm": "a", "text": ""}\n', "line 1: the column 'id' holds 1.5. Accepted: a text or a whole number"),
        ("a.jsonl", b'{"id": 1, "arm": "", "text": ""}\n', "line 1: the column 'arm' holds nothing. Accepted: a text or a whole number"),
        ("a.jsonl", b'{"id": 1, "arm": "a", "text": 4}\n', "line 1: the column 'text' holds 4. Accepted: a text, or null where no answer was given"),
        ("a.csv", b"id,arm,text\n1,a,x\n1,a,y\n", "line 3: case '1' of 'a' was answered on line 2 already. Keep one answer for each case and variant"),
    ],
)  # fmt: skip
def test_damage_gives_one_clear_sentence(tmp_path, name, data, words):
    """Each kind of damage is a DataError that names the file, the place and the way out."""
    path = write(tmp_path / name, data)
    with pytest.raises(DataError) as caught:
        RecordedAnswers.read(path, **COLUMNS)
    assert str(caught.value).startswith(f"the recorded answers {path}")
    assert words in str(caught.value)


def test_a_missing_file_and_a_folder(tmp_path):
    """What is not there, or is no file, is said so."""
    with pytest.raises(DataError) as caught:
        read_rows(tmp_path / "no.csv", what="the grades")
    assert str(caught.value) == (
        f"the grades {tmp_path}/no.csv does not exist. Check the path; relative paths start at the definition"
    )
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        read_rows(tmp_path / "folder.csv")


def test_names_map_variants_and_absence_is_an_upstream_error(tmp_path):
    """A mapped variant is found under the file's name for it; null and absence are silence, "" is an answer."""
    path = write(
        tmp_path / "a.jsonl",
        lines(
            {"id": 1, "arm": "gpt", "text": "A"},
            {"id": 2, "arm": "gpt", "text": None},
            {"id": 3, "arm": "gpt", "text": ""},
        ),
    )
    recorded = RecordedAnswers.read(path, **COLUMNS, names={"control": "gpt", "twin": "gpt"})
    assert recorded.variants == ("control", "twin")

    def ask(case, variant="control"):
        about = {"case": case, "variant": variant}
        return asyncio.run(recorded.complete(Request(model="m", messages=(), about=about)))

    assert ask("1").text == ask("1", "twin").text == "A"
    assert (ask("3").text, ask("3").latency_s, ask("3").usage) == ("", None, None)
    for case in ("2", "9"):
        with pytest.raises(UpstreamError) as caught:
            ask(case)
        assert str(caught.value) == f"a.jsonl has no answer to case '{case}' by the variant 'control'"
    with pytest.raises(DataError) as missing:
        recorded.require(["control", "twim"])
    assert str(missing.value) == (
        "the recorded answers a.jsonl have none of the variant 'twim'. They have: control, twin; did you mean "
        "'twin'? Map it under `answers.names` to what the file calls it"
    )


def test_the_digest_is_of_what_is_sent():
    """Key order and what a request is for do not matter; any change of what is sent does."""
    base = Request(model="m", messages=({"role": "user", "content": "é"},), params={"a": 1, "b": [1.5]})
    same = Request(
        model="m",
        messages=({"content": "é", "role": "user"},),
        params={"b": (1.5,), "a": 1},
        about={"case": "1"},
    )
    assert base.digest == same.digest
    assert base == Request(model="m", messages=base.messages, params=base.params, about={"case": "2"})
    assert base.digest != Request(model="m", messages=base.messages, params={"a": 2, "b": [1.5]}).digest
