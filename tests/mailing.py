"""An SMTP server that really listens: it takes mail, by STARTTLS if it may, and refuses what a test tells it to."""

from __future__ import annotations

import base64
import shutil
import socketserver
import ssl
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest


@dataclass
class Mailing:
    """`taken` are the messages, each with its addresses and whether it came by TLS; `answers` what a command is told."""

    taken: list[tuple[list[str], bool, EmailMessage]] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    port: int = 0
    starttls: ssl.SSLContext | None = None


class _Session(socketserver.StreamRequestHandler):
    timeout = 30

    def handle(self):
        mailing: Mailing = self.server.mailing
        encrypted, to = False, []
        self.say("220 mail.example ESMTP")
        while line := self.rfile.readline():
            words = line.decode().strip()
            verb = words.split(" ")[0].upper()
            told = mailing.answers.get(words) or mailing.answers.get(verb)
            if told is not None:
                self.say(told)
            elif verb == "EHLO":
                more = [] if encrypted or mailing.starttls is None else ["STARTTLS"]
                offers = ["mail.example", *more, *(["AUTH PLAIN"] if mailing.users else []), "8BITMIME"]
                self.say("\r\n".join(f"250{' ' if place == len(offers) - 1 else '-'}{each}" for place, each in enumerate(offers)))  # fmt: skip
            elif verb == "STARTTLS":
                self.say("220 go on")
                self.request = mailing.starttls.wrap_socket(
                    self.request, server_side=True, do_handshake_on_connect=False
                )
                self.request.do_handshake()
                self.rfile.close()
                self.setup()
                encrypted = True
            elif verb == "AUTH":
                _, user, password = base64.b64decode(words.split(" ")[2]).decode().split("\0")
                good = mailing.users.get(user) == password
                self.say("235 welcome" if good else "535 no such user, or another password")
            elif verb == "RCPT":
                to.append(words.partition(":")[2].strip("<>").partition(">")[0])
                self.say("250 ok")
            elif verb == "DATA":
                self.say("354 go on")
                body = b""
                while (line := self.rfile.readline()) != b".\r\n":
                    body += line.removeprefix(b".") if line.startswith(b"..") else line
                mailing.taken.append((to, encrypted, message_from_bytes(body, policy=policy.default)))
                to = []
                self.say("250 taken")
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")

    def finish(self):
        # What was wrapped is another socket than the one the server knows.
        super().finish()
        self.request.close()

    def say(self, line: str):
        self.wfile.write(f"{line}\r\n".encode())
        self.wfile.flush()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads, allow_reuse_address = True, True

    def handle_error(self, request, client_address):
        """Whoever does not trust the certificate hangs up in the middle of it."""


@contextmanager
def mailing(certificate: Path | None = None):
    """A server on a port of the loopback, with STARTTLS where there is a certificate."""
    made = Mailing()
    if certificate is not None:
        made.starttls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.starttls.load_cert_chain(certificate)
    with _Server(("127.0.0.1", 0), _Session) as server:
        server.mailing, made.port = made, server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()


def certificate_of(folder: Path) -> Path:
    """A certificate for localhost with its key, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes a certificate, is not installed")
    key, certificate, both = folder / "key.pem", folder / "certificate.pem", folder / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    both.write_text(key.read_text() + certificate.read_text())
    return both
