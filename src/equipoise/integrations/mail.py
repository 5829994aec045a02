"""Alerts by e-mail, through the operator's own server.

Source: RFC 5321 (what a server's answer means), RFC 3207 (STARTTLS), RFC 5322 (the message).
"""

from __future__ import annotations

import asyncio
import hashlib
import smtplib
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime
from threading import Timer

from equipoise.integrations.alert_forms import line, moment
from equipoise.integrations.collectors import Acknowledged, Answer, Away, Refused
from equipoise.integrations.parcels import Parcel

__all__ = ["Mail", "Server"]

_SUBJECT = 120
_ANSWERS = 10
"""A message takes so many answers at most; a server that sends a letter now and then would be heard for days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that takes mail. `security` is `starttls`, `tls` from the first byte on, or `none`.

    It is asked for at most `timeout_s` seconds an answer. Its certificate is checked against those the system trusts
    (SSL_CERT_FILE names others). With a `user` the `password` is shown, and only where nobody can listen.
    """

    host: str
    port: int
    security: str
    user: str | None = None
    password: str | None = None
    timeout_s: float = 30.0


class Mail:
    """Sends alerts as one message of plain text, a paragraph each, to some addresses at once.

    A server that takes it for one of the addresses has taken it. One that says it never will (5…) has refused;
    whatever else goes wrong may be otherwise later.
    """

    most = 50

    def __init__(self, name: str, server: Server, *, sender: str, to: Sequence[str]) -> None:
        self.name = name
        self._server, self._sender, self._to = server, sender, tuple(to)

    async def post(self, parcels: Sequence[Parcel]) -> Answer:
        # The library waits, and its thread does it for the others.
        return await asyncio.to_thread(self._send, self._message(parcels))

    async def aclose(self) -> None:
        """Nothing is held open between two messages."""

    def _message(self, parcels: Sequence[Parcel]) -> EmailMessage:
        lines = [line(each) for each in parcels]
        message = EmailMessage()
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        message["Subject"] = f"Equipoise: {_cut(lines[0])}{more}"
        message["From"], message["To"] = self._sender, ", ".join(self._to)
        message["Date"] = format_datetime(moment(parcels[0]))
        # The same alerts have the same id, however often they are sent.
        ids = "\0".join(each.row.event_id for each in parcels)
        message["Message-ID"] = f"<{hashlib.sha256(ids.encode()).hexdigest()}@equipoise>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content("\n\n".join(lines) + "\n")
        return message

    def _send(self, message: EmailMessage) -> Answer:
        try:
            with self._connected() as connection:
                connection.send_message(message)
                # It is taken: what comes of a farewell is no reason to send it again.
                with suppress(OSError, smtplib.SMTPException):
                    connection.quit()
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            return _meaning(min(codes, default=0), "for every address")
        except smtplib.SMTPAuthenticationError as error:
            # It speaks of the password, and every message would meet it.
            return Away(f"would not let us in ({error.smtp_code})")
        except smtplib.SMTPNotSupportedError:
            return Away(
                "offers no STARTTLS, or no way to show a password; say `security: tls`, or `none` where nobody can listen"
            )
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
            return _meaning(error.smtp_code, "to the message")
        except smtplib.SMTPResponseException as error:
            return Away(f"answered {error.smtp_code}")
        except ssl.SSLCertVerificationError:
            return Away("showed a certificate that cannot be trusted")
        except TimeoutError:
            return Away(f"did not answer within {self._server.timeout_s:g} s")
        except ValueError:
            # Its own words may hold what could not be written, and that may be the password.
            return Away(
                "could not be told in ASCII what it must be told; see the addresses, the user and the password"
            )
        except (OSError, smtplib.SMTPException) as error:
            return Away(f"could not be reached ({type(error).__name__})")
        return Acknowledged()

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        server = self._server
        trusted = ssl.create_default_context()
        connection: smtplib.SMTP
        if server.security == "tls":
            connection = smtplib.SMTP_SSL(server.host, server.port, timeout=server.timeout_s, context=trusted)
        else:
            connection = smtplib.SMTP(server.host, server.port, timeout=server.timeout_s)
        enough = Timer(_ANSWERS * server.timeout_s, _hang_up, (connection,))
        enough.daemon = True
        enough.start()
        try:
            if server.security == "starttls":
                connection.starttls(context=trusted)
            if server.user is not None and server.password is not None:
                connection.login(server.user, server.password)
            yield connection
        finally:
            enough.cancel()
            connection.close()


def _hang_up(connection: smtplib.SMTP) -> None:
    # Who waits for an answer on it hears that there is none.
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def _meaning(code: int, what: str) -> Answer:
    said = f"answered {code} {what}"
    return Refused(code, said) if 500 <= code < 600 else Away(said)


def _cut(text: str) -> str:
    return text if len(text) <= _SUBJECT else f"{text[: _SUBJECT - 1]}…"
