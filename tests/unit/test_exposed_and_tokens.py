"""What is remembered of exposures, and what a signed token is worth."""

from __future__ import annotations

import threading
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor

import pytest
from demo import DEMO
from hypothesis import given
from hypothesis import strategies as st

from equipoise.assignment.assigning import Draw
from equipoise.assignment.exposing import Exposed
from equipoise.assignment.tokens import Signer
from equipoise.errors import RecordError, UsageError
from equipoise.experiment.reading import read_canonical


def drawn(variant: str = "control", **more: object) -> Draw:
    return Draw(
        experiment=read_canonical(DEMO | more), variant=variant, reason="split", config={}, counts=True
    )


DRAW = drawn()


def tell(exposed: Exposed, unit: str, draw: Draw = DRAW) -> bool:
    first, _ = exposed.begin(draw, unit)
    if first:
        exposed.settle(draw, unit, None)
    return first


def test_a_first_exposure_is_never_swallowed() -> None:
    """Whatever was told before, a unit not told before is told; the memory stays bounded."""
    exposed = Exposed(remembered=100)
    assert all(tell(exposed, f"unit-{index}") for index in range(10_000))
    assert len(exposed) <= 200
    assert not any(tell(exposed, f"unit-{index}") for index in range(9_900, 10_000))


def test_what_is_in_use_is_not_forgotten() -> None:
    """A unit that comes again and again is kept over any number of others; one that does not is told again."""
    exposed = Exposed(remembered=10)
    assert tell(exposed, "often")
    assert tell(exposed, "once")
    for index in range(1_000):
        assert tell(exposed, f"unit-{index}")
        assert exposed.knows(DRAW, "often") if index % 2 else not tell(exposed, "often")
    assert not exposed.knows(DRAW, "once")
    assert tell(exposed, "once")


def test_the_key_is_the_unit_and_what_it_is_exposed_to() -> None:
    """Another variant, revision, unit type or experiment is another exposure."""
    exposed = Exposed()
    others = [
        drawn("treatment"),
        drawn(hypothesis="Better said."),
        drawn(unit="user"),
        drawn(name="other"),
    ]
    assert tell(exposed, "u")
    assert all(tell(exposed, "u", each) for each in others)
    assert not any(tell(exposed, "u", each) for each in [DRAW, *others])
    assert not tell(exposed, "u", drawn())


def test_a_lost_exposure_is_told_again() -> None:
    """Until it is durable it is not known; when it is lost, whoever waits hears why and the next one tells it."""
    exposed = Exposed()
    first, mine = exposed.begin(DRAW, "u")
    second, told = exposed.begin(DRAW, "u")
    assert (first, second) == (True, False)
    assert mine is told
    assert told is not None
    assert not exposed.knows(DRAW, "u")
    exposed.settle(DRAW, "u", RecordError("gone"))
    assert str(told.exception(timeout=30)) == "gone"
    assert not exposed.knows(DRAW, "u")
    assert tell(exposed, "u")
    assert exposed.knows(DRAW, "u")
    assert exposed.begin(DRAW, "u") == (False, None)


def test_who_gives_up_waiting_takes_nothing_from_the_others() -> None:
    """A waiting caller cannot cancel the exposure that another one tells."""
    exposed = Exposed()
    _, told = exposed.begin(DRAW, "u")
    assert told is not None
    assert told.cancel() is False
    exposed.settle(DRAW, "u", None)
    assert told.result(timeout=30) is None


def test_of_many_threads_one_tells_each_unit() -> None:
    """Eight threads over the same thousand units: a thousand first times, whatever the order."""
    exposed = Exposed()
    barrier = threading.Barrier(8)

    def serve(worker: int) -> int:
        barrier.wait()
        return sum(tell(exposed, f"unit-{(index * (worker + 1)) % 1_009}") for index in range(1_009))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(serve, range(8))) == 1_009
    assert len(exposed) == 1_009


SIGNER = Signer("a secret of some length")
TOKEN = SIGNER.sign("assignment", ["demo/1", "Zoë 🙂", 2])


def test_a_token_says_what_was_signed() -> None:
    """It is text for a header or a URL, and reads back as it was."""
    assert SIGNER.read("assignment", TOKEN) == ["demo/1", "Zoë 🙂", 2]
    assert TOKEN.isascii()
    assert set(TOKEN) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


def test_a_token_serves_one_purpose() -> None:
    """What a browser may say of a reply is not when a unit entered, also with the word exchanged."""
    assert SIGNER.read("feedback", TOKEN) is None
    assert SIGNER.read("feedback", TOKEN.replace("assignment", "feedback")) is None


def test_a_forged_token_is_worth_nothing() -> None:
    """Any changed, missing or added character, and any other secret, makes it unreadable."""
    for index, old in enumerate(TOKEN):
        for new in ("A", "B", "", old + "A", "."):
            forged = TOKEN[:index] + new + TOKEN[index + 1 :]
            if forged != TOKEN:
                assert SIGNER.read("assignment", forged) is None, forged
    assert Signer("another secret of length").read("assignment", TOKEN) is None
    said = "assignment." + urlsafe_b64encode(b'["demo/1","u",0]').rstrip(b"=").decode()
    assert SIGNER.read("assignment", said + ".") is None
    assert SIGNER.read("assignment", said) is None


def test_a_secret_can_be_changed() -> None:
    """Tokens of a former secret are read, new ones are signed with the new; without the former they end."""
    rotated = Signer("the secret of next month", "a secret of some length")
    assert rotated.read("assignment", TOKEN) == ["demo/1", "Zoë 🙂", 2]
    fresh = rotated.sign("assignment", ["demo/1", "u", 3])
    assert SIGNER.read("assignment", fresh) is None
    assert Signer("the secret of next month").read("assignment", fresh) == ["demo/1", "u", 3]
    assert Signer("the secret of next month").read("assignment", TOKEN) is None


@given(st.one_of(st.text(max_size=200), st.binary(max_size=200).map(lambda raw: raw.decode("latin-1"))))
def test_rubbish_is_no_token(text: str) -> None:
    """Any text at all is None, never an exception."""
    assert SIGNER.read("assignment", text) is None
    assert SIGNER.read("assignment", "assignment." + text) is None


@pytest.mark.parametrize("text", ["", ".", "..", "assignment..", "a" * 100_000, "assignment." + "A" * 5_000, "é.é.é", "assignment.\ud800.x"])  # fmt: skip
def test_odd_and_long_texts_are_no_tokens(text: str) -> None:
    """Empty parts, endless ones and what is not ASCII."""
    assert SIGNER.read("assignment", text) is None


def test_a_short_secret_is_refused() -> None:
    """Sixteen bytes at least, also of a former one; the sentence says how to make one and does not repeat it."""
    for secrets in (["short"], [""], ["a secret of some length", "short"]):
        with pytest.raises(UsageError) as refused:
            Signer(*secrets)
        assert str(refused.value) == (
            "a secret to sign with has at least 16 bytes; "
            "make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
