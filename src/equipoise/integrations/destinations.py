"""Where alerts go: a file of the operator, part of no experiment. Secrets stand in the environment, and it names them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from equipoise.errors import DefinitionError, Fault, MissingExtraError, UsageError, nearest
from equipoise.experiment.document import Document, read_document, read_text
from equipoise.integrations.addresses import is_private
from equipoise.integrations.alert_forms import Message, Webhook, signing
from equipoise.integrations.collectors import Collector, Receiver, address, of_otlp
from equipoise.integrations.mail import Mail, Server

__all__ = ["KINDS", "read_destinations"]

KINDS = ("webhook", "slack", "otlp", "email")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CALLED = ("url", "url_env", "private", "timeout")
_ACCEPTED: Mapping[str, tuple[str, ...]] = {
    "webhook": (*_CALLED, "secret_env"),
    "slack": _CALLED,
    "otlp": _CALLED,
    "email": ("to", "from", "host", "port", "security", "user", "password_env", "timeout"),
}
_NEEDED = {"webhook": ("secret_env",), "slack": (), "otlp": (), "email": ("to", "from", "host")}
_SECURITY = {"starttls": 587, "tls": 465, "none": 25}
_TOGETHER = 20
_LONGEST_S = 300.0
# No more than keeps a message apart from its headers; whether it is one, the server knows.
_MAILBOX = re.compile(r"[^\s@<>,;\"]+@[^\s@<>,;\"]+")


def read_destinations(path: Path, variable: Callable[[str], str | None]) -> tuple[Receiver, ...]:
    """The destinations in a YAML file, by name; `variable` looks up what the environment holds.

    ```yaml
    ops:       {kind: webhook, url: https://hooks.example/equipoise, secret_env: OPS_SECRET}
    channel:   {kind: slack, url_env: SLACK_URL}
    collector: {kind: otlp, url: http://127.0.0.1:4318, private: true}
    on-call:   {kind: email, to: [on-call@shop.example], from: equipoise@shop.example, host: smtp.shop.example}
    ```

    Raises DefinitionError with every fault of the file (an unset variable is one), MissingExtraError for `otlp` without the
    `telemetry` extra.
    """
    try:
        text = read_text(path, what="the file of destinations")
    except ValueError as error:
        raise DefinitionError([Fault(str(error))]) from None
    document = read_document(text, str(path))
    if document.faults:
        raise DefinitionError(document.faults)
    if not isinstance(document.data, dict):
        raise DefinitionError(
            [
                Fault(
                    "this is no list of destinations",
                    file=str(path),
                    accepted="NAME: {kind: …}, one for each",
                )
            ]
        )
    readers = [_Reader(document, name, given, variable) for name, given in document.data.items()]
    found = [reader.read() for reader in readers]
    faults = [fault for reader in readers for fault in reader.faults]
    if faults:
        raise DefinitionError(faults)
    return tuple(each for each in found if each is not None)


class _Reader:
    """One destination: what is asked for is taken, what is wrong is noted."""

    def __init__(
        self, document: Document, name: str, given: object, variable: Callable[[str], str | None]
    ) -> None:
        self._document, self._name, self._variable = document, name, variable
        self._given: dict[str, Any] = given if isinstance(given, dict) else {}
        self.faults: list[Fault] = []

    def _fault(
        self, key: str | None, problem: str, *, accepted: str | None = None, next: str | None = None
    ) -> None:
        path = (self._name,) if key is None else (self._name, key)
        self.faults.append(self._document.fault(path, problem, accepted=accepted, next=next))

    def read(self) -> Receiver | None:
        """The destination; None where something is wrong with it."""
        if not _NAME.fullmatch(self._name):
            self._fault(
                None,
                "this is not a name",
                accepted="up to 64 letters, digits, '.', '_' and '-', a letter or digit first",
            )
        kind = self._given.get("kind")
        if kind not in KINDS:
            self._fault(
                "kind" if "kind" in self._given else None,
                "a destination has a kind" if kind is None else f"'{kind}' is no kind of destination",
                accepted=", ".join(KINDS),
                next=nearest(str(kind), KINDS),
            )
            return None
        for key in self._given:
            if key != "kind" and key not in _ACCEPTED[kind]:
                self._fault(
                    key,
                    f"unknown key '{key}'",
                    accepted=", ".join(_ACCEPTED[kind]),
                    next=nearest(key, _ACCEPTED[kind]),
                )
        for key in _NEEDED[kind]:
            if key not in self._given:
                self._fault(None, f"the key '{key}' is missing")
        made = self._mail() if kind == "email" else self._called(kind)
        return None if self.faults else made

    def _called(self, kind: str) -> Receiver | None:
        private = self._take("private", bool, "true or false", False)
        url = (
            self._secret("url_env") if "url_env" in self._given else self._take("url", str, "an address", "")
        )
        if ("url" in self._given) == ("url_env" in self._given):
            self._fault(
                None,
                "it is not said where to",
                accepted="either url, or url_env where the address is a secret",
            )
        secret = self._secret("secret_env") if "secret_env" in self._given else ""
        timeout = self._timeout()
        if self.faults:
            return None
        try:
            there = address(url)
            sign = signing(secret) if kind == "webhook" else None
        except UsageError as error:
            self._fault(None, str(error))
            return None
        if not private and (there.scheme != "https" or is_private(there.host or "")):
            self._fault(
                None,
                "a public address is called by https, and no other",
                next="say `private: true` where this one is yours",
            )
            return None
        if kind == "otlp":
            there, form = of_otlp(there), _log_records()
        else:
            form = Webhook() if kind == "webhook" else Message()
        return Collector(
            there,
            kind,
            form,
            headers={},
            timeout_s=timeout,
            name=self._cursor(kind),
            most=1 if kind == "webhook" else _TOGETHER,
            packed=kind == "otlp",
            sign=sign,
            public=not private,
        )

    def _mail(self) -> Receiver | None:
        to = self._given.get("to", [])
        to = [to] if isinstance(to, str) else to
        if "to" in self._given and not (isinstance(to, list) and to and all(map(_is_mailbox, to))):
            self._fault(
                "to", "this cannot be written to", accepted="an address such as me@shop.example, or a list"
            )
        sender = self._given.get("from")
        if "from" in self._given and not _is_mailbox(sender):
            self._fault(
                "from", "nobody writes from here", accepted="an address such as equipoise@shop.example"
            )
        security = self._take("security", str, ", ".join(_SECURITY), "starttls")
        if security not in _SECURITY:
            self._fault("security", f"'{security}' protects nothing we know", accepted=", ".join(_SECURITY))
        host = self._take("host", str, "a host", "")
        port = self._take("port", int, "a port from 1 to 65535", _SECURITY.get(security, 587))
        if not 1 <= port <= 65_535:
            self._fault("port", f"{port} is no port", accepted="1 to 65535")
        user = self._take("user", str, "a name", "") or None
        password = self._secret("password_env") if "password_env" in self._given else None
        if (user is None) != ("password_env" not in self._given):
            self._fault(None, "a user and a password belong together", accepted="both user and password_env")
        if not f"{user}{password}".isascii():
            self._fault(
                None,
                "the user and the password are shown to the server in ASCII, and one of them holds another letter",
                accepted="ASCII",
            )
        if user is not None and security == "none":
            self._fault("security", "a password would be shown to everybody", accepted="starttls or tls")
        timeout = self._timeout()
        if self.faults:
            return None
        server = Server(
            host=host, port=port, security=security, user=user, password=password, timeout_s=timeout
        )
        return Mail(self._cursor("email"), server, sender=str(sender), to=to)

    def _cursor(self, kind: str) -> str:
        # By its name: an address that is a secret is shown nowhere, and one that changes is told no alert twice.
        return f"alerts {kind} {self._name}"

    def _take(self, key: str, kind: type, accepted: str, absent: Any) -> Any:
        value = self._given.get(key, absent)
        if type(value) is not kind or (key in self._given and value == ""):
            self._fault(key, "this cannot be read here", accepted=accepted)
            return absent
        return value

    def _timeout(self) -> float:
        value = self._given.get("timeout", 30)
        if type(value) not in (int, float) or not 0 < value <= _LONGEST_S:
            self._fault("timeout", "this cannot be waited for", accepted=f"seconds, up to {_LONGEST_S:g}")
            return 30.0
        return float(value)

    def _secret(self, key: str) -> str:
        name = self._take(key, str, "the name of an environment variable", "")
        value = self._variable(name) if name else None
        if name and value is None:
            self._fault(key, f"the environment variable {name} is not set", next=f"export {name}=…")
        return value or ""


def _is_mailbox(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and _MAILBOX.fullmatch(value) is not None


def _log_records() -> Any:
    try:
        from equipoise.integrations.otlp_logs import LogRecords
    except ModuleNotFoundError:
        raise MissingExtraError("a destination of the kind otlp", "telemetry") from None
    return LogRecords()
