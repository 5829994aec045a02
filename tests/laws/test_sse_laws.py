"""Server-sent events by bytes: wherever the network cuts, the same frames, the same bytes, the same answer."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.errors import UpstreamError
from equipoise.gateway.streaming import HOLD, Stream
from equipoise.providers.sse import Frame, Frames
from equipoise.scoring.holding import Holding

SHORT = [
    b"data: 1\n\ndata: 2\n\n",
    b"data: 1\r\n\r\ndata: 2\r\n\r\n",
    b"data: 1\r\rdata: 2\r\r:",
    b"data: a\ndata: b\r\n\ndata\r\r\ndata:\n\n",
    b"\xef\xbb\xbfdata: 1\n\n: comment\n\n",
    b"event: x\nid: 7\nretry: 10\ndata: 1\n\nfield\n\n",
    b"\n\n\ndata: 1\n\n\n\n\r\n\r\r\n\n\rdata: 2\n\nx",
    b"data: \xe2\x82\xac\r\n\r\n\xef\xbb\xbfdata: 3\n\n",
]


def cut(data: bytes, *places: int) -> list[bytes]:
    ends = [0, *sorted(places), len(data)]
    return [data[start:end] for start, end in pairwise(ends)]


def told(pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    frames = Frames()
    return [bytes(frame) for piece in pieces for frame in frames.feed(piece)], bytes(frames.rest())


def by_the_book(data: bytes) -> list[bytes]:
    """The data of each event as WHATWG HTML 9.2.6 tells to gather it, lines read one by one."""
    lines = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]
    events, gathered = [], []
    for line in lines:
        if not line:
            if gathered:
                events.append(b"\n".join(gathered))
            gathered = []
        elif line.partition(b":")[0] == b"data":
            value = line.partition(b":")[2]
            gathered.append(value[1:] if value.startswith(b" ") else value)
    return events


@pytest.mark.parametrize("data", SHORT)
def test_every_cut_in_three_gives_the_same_frames_and_every_byte(data):
    """All pairs of places where the network may cut; byte by byte too; and the data are those of the standard."""
    whole = told([data])
    assert b"".join(whole[0]) + whole[1] == data.removeprefix(b"\xef\xbb\xbf")
    assert told([data[at : at + 1] for at in range(len(data))]) == whole
    for first in range(len(data) + 1):
        for second in range(first, len(data) + 1):
            assert told(cut(data, first, second)) == whole, (first, second)
    said = [Frame(each).data for each in (*whole[0], whole[1])]
    assert [each for each in said if each is not None] == by_the_book(data)


ALPHABET = st.sampled_from(
    [b"\n", b"\r", b"\r\n", b"data:", b"data: ", b"data", b"event: x", b":", b"{}", b"x"]
)


@given(st.lists(ALPHABET, max_size=40).map(b"".join), st.lists(st.integers(0, 200), max_size=12))
def test_any_mixture_of_ends_fields_and_comments_is_cut_alike(data, places):
    """Frames, bytes and data agree with the stream in one piece and with the standard, whatever is sent."""
    whole = told([data])
    assert told(cut(data, *[min(place, len(data)) for place in places])) == whole
    assert b"".join(whole[0]) + whole[1] == data
    events = [Frame(each).data for each in whole[0]]
    closed = data[: len(data) - len(whole[1])]
    assert [each for each in events if each is not None] == by_the_book(closed)


@pytest.mark.parametrize("size", [10_000_000, 65_536, 1_200])
def test_a_frame_beyond_eight_mebibytes_is_refused_whatever_the_pieces(size):
    """Just within it passes in small pieces (each byte is copied a few times, not thousands); beyond is an error."""
    limit = 8 * 1024 * 1024
    fits = b"data: " + b"x" * (limit - 8) + b"\n\n"
    frames = Frames()
    found = [frame for at in range(0, len(fits), size) for frame in frames.feed(fits[at : at + size])]
    assert found == [fits]
    frames = Frames()
    long = b"data: 1\n\n" + fits[:-2] + b"y\n\n" + b"data: 2\n\n"
    with pytest.raises(UpstreamError, match=r"^a server-sent event is longer than 8 MiB$"):
        for at in range(0, len(long), size):
            frames.feed(long[at : at + size])


def stream(**more) -> Stream:
    return Stream("chat", 0.0, **({"hide_usage": False, "holding": None, "buffer": False} | more))


def out(made: Stream, pieces: list[bytes]) -> bytes:
    said = b"".join(made.feed(piece, 1.0) for piece in pieces)
    return said + made.unterminated(1.0) + made.rest()


def frame(delta: dict, **more) -> bytes:
    said = {"id": "1", "choices": [{"index": 0, "delta": delta, "finish_reason": None}], "odd": [1.50]} | more
    return b"data: " + json.dumps(said).encode() + b"\n\n"


TALK = [
    frame({"role": "assistant", "content": ""}),
    b": keep-alive\n\n",
    b"event: odd\r\nid: 1\r\nretry: 5\r\ndata: not json at all {\r\n\r\n",
    frame({"content": "It "}),
    frame({"content": "ships"}, usage=None),
    b"data:\n\ndata: []\n\ndata: 7\n\ndata: null\n\n",
    b'data: {"choices": [{"delta":\ndata: {"content": " today."}}]}\n\n',
    b'data: {"choices": [null, 3]}\n\ndata: {"choices": "x", "usage": 4}\n\n',
]


@pytest.mark.parametrize("end", [b"", b"data: [DONE]\n\n", b"data: [DONE]\r\n\r\n", b"data:[DONE]\n"])
@pytest.mark.parametrize("watched", [False, True])
def test_bytes_in_are_bytes_out_where_nothing_is_hidden_or_held(end, watched):
    """Comments, garbage, unknown fields and the way JSON is written stay, at every cut; the text is heard."""
    data = b"".join(TALK) + end
    closed = data if data.endswith((b"\n\n", b"\r\n\r\n")) else data.rstrip(b"\r\n") + b"\n\n"
    for at in range(len(data)):
        made = stream(holding=Holding({"pii", "toxicity"}) if watched else None)
        assert out(made, cut(data, at)) == closed
        assert (made.heard.text, made.done) == ("It ships today.", bool(end))


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


@pytest.mark.parametrize("hide", [False, True])
def test_usage_is_hidden_from_whoever_did_not_ask_also_where_it_rides_on_content(hide):
    """Of a piece of content only the counts are taken away; a piece of counts alone is left out; both are counted."""
    riding = frame({"content": "!"}, usage=USAGE)
    data = frame({"content": "Hi"}) + riding + frame({}, choices=[], usage=USAGE) + b"data: [DONE]\n\n"
    for at in range(len(data)):
        made = stream(hide_usage=hide)
        said = out(made, cut(data, at))
        assert (made.heard.text, made.heard.input_tokens, made.heard.output_tokens) == ("Hi!", 3, 2)
        if not hide:
            assert said == data
            continue
        events = [each.data for each in Frames().feed(said)]
        assert [json.loads(each) for each in events[:-1]] == [
            json.loads(Frame(frame({"content": "Hi"})).data or b""),
            json.loads(Frame(frame({"content": "!"})).data or b""),
        ]
        assert events[-1] == b"[DONE]"


@pytest.mark.parametrize(
    "said", [b'"\\ud800 jo@example.org"', b'"jo@example.org \xff"', b'[{"type": "text", "text": "jo@example.org"}]']
)  # fmt: skip
def test_text_that_a_strict_parser_refuses_is_heard_all_the_same(said):
    """Half a surrogate pair, bytes that are not UTF-8, content in parts: other clients read it, so do the checks."""
    data = b'data: {"choices": [{"index": 0, "delta": {"content": %b}}]}\n\n' % said
    made = stream(holding=Holding({"pii"}))
    assert made.feed(data, 0.0) == b""
    assert made.unterminated(0.0) == b""
    assert made.failed == "pii"


def test_what_is_held_goes_out_when_its_own_time_is_over_and_not_before():
    """HOLD counts from the oldest piece that is still held, not from one that went out long ago."""
    made = stream(holding=Holding({"pii"}))
    first, second = frame({"content": "Call 555"}), frame({"content": " now. At 12"})
    assert made.feed(first, 0.0) == b""
    assert made.overdue(HOLD * 0.9) == b""
    assert made.feed(second, HOLD * 0.9) in (b"", first)
    assert made.feed(frame({"content": " we will see you, or at 1"}), HOLD) != b""
    assert made.overdue(HOLD * 1.5) == b""
    assert made.overdue(HOLD * 2) == frame({"content": " we will see you, or at 1"})
    assert made.feed(frame({"content": " o'clock then."}), HOLD * 2) == frame({"content": " o'clock then."})
