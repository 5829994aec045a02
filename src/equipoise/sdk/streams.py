"""Streams of the `openai` client that are listened to while the caller reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TypeVar

from openai import AsyncStream, Stream

from equipoise.sdk.serving import Call

__all__ = ["ListenedAsyncStream", "ListenedStream"]

T = TypeVar("T")


class ListenedStream(Stream[T]):
    """The stream it is made of, and one turn on record when it ends, fails, is closed or is dropped."""

    def __init__(self, stream: Stream[T], call: Call) -> None:
        # The same stream, in everything it has: the class has no way to take another one over.
        self.__dict__.update(stream.__dict__)
        self._call = call

    def __next__(self) -> T:
        try:
            while not self._call.piece(piece := self._iterator.__next__()):
                pass
        except StopIteration:
            self._call.over()
            raise
        except BaseException as error:
            self._call.failed(error)
            raise
        return piece

    def __iter__(self) -> Iterator[T]:
        return self

    def close(self) -> None:
        self._call.left()
        super().close()

    def __del__(self) -> None:
        self._call.left()


class ListenedAsyncStream(AsyncStream[T]):
    """As `ListenedStream`, of an asynchronous client."""

    def __init__(self, stream: AsyncStream[T], call: Call) -> None:
        self.__dict__.update(stream.__dict__)
        self._call = call

    async def __anext__(self) -> T:
        try:
            while not self._call.piece(piece := await self._iterator.__anext__()):
                pass
        except StopAsyncIteration:
            self._call.over()
            raise
        except BaseException as error:
            self._call.failed(error)
            raise
        return piece

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def close(self) -> None:
        self._call.left()
        await super().close()

    def __del__(self) -> None:
        self._call.left()
