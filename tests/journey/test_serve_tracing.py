"""Spans of a gateway process, as a collector receives them by OTLP over HTTP."""

from __future__ import annotations

import json
import signal
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import openai
import pytest
from gateways import upstream
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from processes import ASK, QUIET, client, registered, serving

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@contextmanager
def collector():
    """A collector that keeps the spans it is sent."""
    spans = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self):
            said = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
            spans.extend(
                (resource, span)
                for resource in said.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            )
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", spans
    finally:
        server.shutdown()
        server.server_close()


def attributes(span) -> dict:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def loaded(process: int) -> bool:
    """Whether a process has loaded protobuf, without which no span leaves it."""
    return "google/_upb" in Path(f"/proc/{process}/maps").read_text()


def test_each_turn_is_a_span_of_its_callers_trace_with_its_experiment(tmp_path, monkeypatch):
    """Request and model call are spans of one trace, also upstream; they hold where it belongs and no content."""
    with collector() as (where, spans), upstream() as up:
        registered(tmp_path, up.port)
        monkeypatch.setitem(QUIET, "OTEL_EXPORTER_OTLP_ENDPOINT", where)
        with serving(tmp_path) as (process, url):
            talk = client(url)
            raw = talk.chat.completions.with_raw_response.create(
                **ASK, extra_headers={"x-conversation-id": "a-unit-1", "traceparent": PARENT}
            )
            talk.chat.completions.create(**ASK, extra_headers={"x-conversation-id": "a-unit-1"})
            with pytest.raises(openai.NotFoundError):
                talk.chat.completions.create(model="experiment/other", messages=ASK["messages"])
            talk.close()
            assert loaded(process.pid)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        assert raw.headers["x-equipoise-trace"] == PARENT.split("-")[1]
        named = {(span.trace_id.hex(), span.name): span for _, span in spans}
        trace = PARENT.split("-")[1]
        request, call = (
            named[trace, "POST /v1/chat/completions"],
            named[trace, f"chat {up.bodies[0]['model']}"],
        )
        assert request.parent_span_id.hex() == PARENT.split("-")[2]
        assert call.parent_span_id == request.span_id
        assert up.headers[0]["traceparent"] == f"00-{trace}-{call.span_id.hex()}-01"
        assert request.start_time_unix_nano <= call.start_time_unix_nano
        assert call.end_time_unix_nano <= request.end_time_unix_nano
        for span in (request, call):
            said = attributes(span)
            assert said["equipoise.experiment"] == raw.headers["x-equipoise-experiment"]
            assert said["equipoise.variant"] == raw.headers["x-equipoise-variant"]
            assert (said["equipoise.epoch"], said["equipoise.reason"]) == ("0", "split")
            assert said["gen_ai.usage.input_tokens"] > 0
        assert attributes(call)["gen_ai.request.model"] == up.bodies[0]["model"]
        assert attributes(call)["server.port"] == up.port
        whole = " ".join(str(span) for _, span in spans)
        assert "Where is it?" not in whole
        assert "a-unit-1" not in whole
        resource, _ = spans[0]
        assert attributes(resource.resource)["service.name"] == "equipoise-gateway"
        # The second turn had no caller's trace: it is a trace of its own.
        assert len({span.trace_id for _, span in spans}) == 2
        assert json.dumps(sorted(span.name for _, span in spans)).count("POST /v1/chat/completions") == 2


def test_a_collector_that_is_away_costs_nobody_anything(tmp_path, monkeypatch):
    """Nobody listens where the spans should go: turns are served, and the process ends when it is told to."""
    with upstream() as up:
        registered(tmp_path, up.port)
        monkeypatch.setitem(QUIET, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        with serving(tmp_path) as (process, url):
            talk = client(url)
            for n in range(5):
                raw = talk.chat.completions.with_raw_response.create(
                    **ASK, extra_headers={"x-conversation-id": f"c{n}"}
                )
                assert raw.headers["x-equipoise-reason"] == "split"
            talk.close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


def test_without_a_collector_named_the_sdk_is_not_loaded(tmp_path):
    """Nobody who wants no spans pays for them."""
    with upstream() as up:
        registered(tmp_path, up.port)
        with serving(tmp_path) as (process, url):
            talk = client(url)
            talk.chat.completions.create(**ASK, extra_headers={"x-conversation-id": "c"})
            talk.close()
            assert not loaded(process.pid)
