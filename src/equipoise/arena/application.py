"""Answers given by a user's own function: retrieval, tools, anything a request to a model cannot say."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import inspect
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from equipoise.errors import DataError, UpstreamError, UsageError
from equipoise.providers.messages import Reply, Request, Usage

__all__ = ["Application", "load_application"]

Answer = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]


class Application:
    """A Provider that asks a function `answer(case, variant)`.

    `case` holds `id`, `input`, `messages` and `values`, never the reference; `variant` holds `name` and all
    its settings. The function returns the answer as a text, or a mapping with `text` and, where known,
    `context` (the passages retrieved), `model`, `input_tokens` and `output_tokens`, `latency_s`, `finish_reason`. It may
    be asynchronous; one that is not runs in a thread. Whatever it raises counts as no answer.
    """

    def __init__(self, answer: Answer, *, origin: str) -> None:
        self._answer = answer
        self.origin = origin

    async def complete(self, request: Request) -> Reply:
        """Call the function for the case and variant that `Request.params` holds."""
        case, variant = request.params["case"], request.params["variant"]
        started = time.perf_counter()
        try:
            given = (
                await self._answer(case, variant)
                if inspect.iscoroutinefunction(self._answer)
                else await asyncio.to_thread(self._answer, case, variant)
            )
        except Exception as error:
            raise UpstreamError(f"{self.origin} raised {type(error).__name__}: {error}") from error
        return self._reply(given, request, time.perf_counter() - started)

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _reply(self, given: Any, request: Request, took_s: float) -> Reply:
        if isinstance(given, str):
            return Reply(text=given, model=request.model, latency_s=took_s)
        if not isinstance(given, Mapping) or not isinstance(given.get("text"), str):
            raise UpstreamError(
                f"{self.origin} returned {type(given).__name__}. Accepted: the answer as a text, or a mapping with `text`"
            )
        context = given.get("context") or ()
        counts = given.get("input_tokens"), given.get("output_tokens")
        return Reply(
            text=given["text"],
            model=str(given.get("model") or request.model),
            finish_reason=given.get("finish_reason"),
            usage=Usage(*counts) if all(isinstance(count, int) for count in counts) else None,  # type: ignore[arg-type]
            latency_s=float(given.get("latency_s", took_s)),
            context=(context,) if isinstance(context, str) else tuple(map(str, context)),
        )


def load_application(named: str, folder: Path) -> Application:
    """The function that `FILE.py:FUNCTION` names, FILE being relative to the definition.

    The file is run, as your own code is; its folder can be imported from. Its digest is part of what answers
    are found by in the journal, so an edited application is asked anew. Raises DataError.
    """
    file, _, function = named.rpartition(":")
    path = folder / file
    try:
        code = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"the application {path} cannot be read: {error.strerror}. Name it as FILE.py:FUNCTION, relative to "
            "the definition"
        ) from None
    spec = importlib.util.spec_from_file_location(f"equipoise_application_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"the application {path} is not a Python file; name it as FILE.py:FUNCTION")
    module = importlib.util.module_from_spec(spec)
    beside = str(path.parent.resolve())
    if beside not in sys.path:
        sys.path.insert(0, beside)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise DataError(f"the application {path} cannot be run: {type(error).__name__}: {error}") from error
    found = getattr(module, function, None)
    if not callable(found):
        there = [name for name, value in vars(module).items() if inspect.isfunction(value)]
        raise DataError(
            f"the application {path} has no function '{function}'. It has: {', '.join(there) or 'none'}"
        )
    return Application(found, origin=f"{named} (sha256 {hashlib.sha256(code).hexdigest()[:12]})")
