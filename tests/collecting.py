"""A collector of facts that really listens: it acknowledges, fails, hangs or resets, as a test tells it."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)


@dataclass
class Post:
    """What was posted: the facts' ids and experiments in order, the headers, and the records themselves."""

    ids: list[str]
    experiments: list[str]
    headers: dict[str, str]
    path: str
    records: list = field(repr=False)


@dataclass
class Said:
    """What a collector answers: a status with headers and a body, or `hang`, or `reset`."""

    status: int = 200
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    instead: str | None = None


class Collecting:
    """`posts` is everything that came, `taken` what was acknowledged, in order; `answer` decides on each post."""

    def __init__(self):
        self.posts: list[Post] = []
        self.taken: list[tuple[str, str]] = []
        self.answer = lambda post: Said()
        self.let_go = threading.Event()
        self.lock = threading.Lock()
        self.url = ""

    @property
    def ids(self) -> list[str]:
        """The ids of what was acknowledged, each where it came first."""
        return list(dict.fromkeys(event_id for event_id, _ in self.taken))

    def refuse(self, *bad: str, status: int = 400):
        """From now on a post with one of these ids is refused."""
        self.answer = lambda post: Said(status if set(bad) & set(post.ids) else 200)

    def fail(self, times: int, said: Said):
        """So many posts fail in this way, and then none."""
        left = [said] * times
        self.answer = lambda post: left.pop() if left else Said()


def partial(rejected: int) -> Said:
    """An acknowledgement of OTLP that turns some records down."""
    answer = ExportLogsServiceResponse()
    answer.partial_success.rejected_log_records = rejected
    answer.partial_success.error_message = "the words of a collector"
    return Said(body=answer.SerializeToString())


def read(body: bytes, kind: str) -> tuple[list[str], list[str], list]:
    if kind == "application/x-ndjson":
        records = [json.loads(line) for line in body.splitlines()]
        return [each["event_id"] for each in records], [each["experiment"] for each in records], records
    request = ExportLogsServiceRequest.FromString(body)
    records = [record for resource in request.resource_logs for scope in resource.scope_logs for record in scope.log_records]  # fmt: skip
    said = [attributes(each) for each in records]
    return (
        [each["equipoise.event_id"] for each in said],
        [each["equipoise.experiment"] for each in said],
        records,
    )


def attributes(record) -> dict:
    return {each.key: plain(each.value) for each in record.attributes}


def plain(value):
    """A value of OpenTelemetry as Python has it."""
    match value.WhichOneof("value"):
        case None:
            return None
        case "kvlist_value":
            return {each.key: plain(each.value) for each in value.kvlist_value.values}
        case "array_value":
            return [plain(each) for each in value.array_value.values]
        case name:
            return getattr(value, name)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Who posts may be killed in the middle of it."""


@contextmanager
def collecting():
    """A collector that listens on a port of the loopback."""
    collector = Collecting()

    class Taking(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            raw = self.rfile.read(int(self.headers["content-length"]))
            headers = {key.lower(): value for key, value in self.headers.items()}
            ids, experiments, records = read(gzip.decompress(raw), headers["content-type"])
            post = Post(ids, experiments, headers, self.path, records)
            with collector.lock:
                collector.posts.append(post)
                said = collector.answer(post)
                if said.instead is None and 200 <= said.status < 300:
                    collector.taken += zip(ids, experiments, strict=True)
            if said.instead == "hang":
                collector.let_go.wait()
            if said.instead is not None:
                self.close_connection = True
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                return
            self.send_response(said.status)
            for key, value in said.headers.items():
                self.send_header(key, value)
            self.send_header("content-length", str(len(said.body)))
            self.end_headers()
            self.wfile.write(said.body)

        def log_message(self, *_):
            pass

    server = Server(("127.0.0.1", 0), Taking)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        collector.let_go.set()
        server.shutdown()
        server.server_close()
