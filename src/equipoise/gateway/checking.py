"""The inline checks of one turn: what each found, whether the turn is safe, and what is said instead of an answer."""

from __future__ import annotations

from typing import Any

from equipoise.assignment.applying import API
from equipoise.gateway.routing import Part
from equipoise.gateway.saying import said_by_user
from equipoise.providers.hearing import Heard
from equipoise.scoring.evaluating import Subject
from equipoise.scoring.inline import Inline, InlineCheck

__all__ = ["Checking", "Failing"]

Failing = tuple[tuple[InlineCheck, Any], ...]
"""The checks that do not hold, with what each found."""

_NO_CHECKS = Inline(())


class Checking:
    """Checks on a request and on its answer, in the order in which there is something to look at.

    `found` says of each check that it `passed`, `failed` or was `skipped`, `safe` whether a safety check fired (None: none
    was run), `blocked` that an answer was kept back, and `said` what the client was told instead.
    """

    __slots__ = ("_api", "_body", "blocked", "found", "inline", "safe", "said")

    def __init__(self, body: dict[str, Any], api: API) -> None:
        self._body, self._api = body, api
        self.inline: Inline = _NO_CHECKS
        self.found: dict[str, str] = {}
        self.safe: bool | None = None
        self.blocked = False
        self.said = ""

    def begin(self, parts: tuple[Part, ...]) -> Failing:
        """Take the checks of the turn's experiments, each once; those that the request does not hold to."""
        checks = [check for part in parts for check in part.route.inline.checks]
        if len(parts) == 1:
            self.inline = parts[0].route.inline
        elif checks:
            self.inline = Inline(tuple(dict.fromkeys(checks)))
        if not any(each.on_request for each in self.inline.checks):
            return ()
        failing = self.inline.of_request(said_by_user(self._body, self._api))
        if failing:
            self.safe = not Inline.unsafe(failing) and None
            named = {check.name for check, _ in failing}
            self.found = {
                each.name: "failed" if each.name in named else "skipped" for each in self.inline.checks
            }
        return failing

    def of_answer(self, heard: Heard, body: dict[str, Any]) -> Failing:
        """The checks on the whole answer to what was asked in `body`."""
        if not self.inline.checks or self._api == "embeddings":
            return ()
        # Every choice is looked at. Where nothing was said, a call of tools is looked at by whoever runs them; what
        # could not be read was not checked.
        said = [each for each in heard.choices.values() if each.text or not (each.tool_calls or each.errored)]
        failing = tuple(
            found
            for each in said
            for found in self.inline.of_response(Subject(answer=each.text, finish_reason=each.finish_reason))
        )
        self.found = self._verdicts({check.name for check, _ in failing}, body, looked=bool(said))
        if said:
            self.safe = not Inline.unsafe(failing)
        return failing

    def block(self, failing: Failing) -> str:
        """Nothing of the answer is shown: what is said instead, the words of the first check that has some."""
        self.blocked = True
        self.said = next((check.fallback for check, _ in failing if check.fallback is not None), "")
        return self.said

    def stop(self, name: str, body: dict[str, Any]) -> str | None:
        """A check does not hold any more in the middle of an answer; what is said from there on, None: nothing."""
        self.blocked = True
        if not self.found:
            self.found = self._verdicts({name}, body, looked=False)
        if name in self.inline.watched:
            self.safe = False
        said = next(
            (each.fallback for each in self.inline.checks if each.name == name and each.fallback is not None),
            None,
        )
        self.said = said or ""
        return said

    def _verdicts(self, failed: set[str], body: dict[str, Any], *, looked: bool) -> dict[str, str]:
        """What each check found: `skipped` where any of it was not run."""
        # A request that failed never comes here; one without text was not checked.
        asked = any(each.on_request for each in self.inline.checks) and bool(said_by_user(body, self._api))
        verdicts: dict[str, str] = {}
        for each in self.inline.checks:
            ran = (looked or not each.on_response) and (asked or not each.on_request)
            if each.name in failed:
                verdicts[each.name] = "failed"
            elif not ran or verdicts.get(each.name) == "skipped":
                verdicts[each.name] = "skipped"
            else:
                verdicts[each.name] = "passed"
        return verdicts
