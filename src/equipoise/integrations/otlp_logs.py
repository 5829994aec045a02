"""Facts as log records of OpenTelemetry, in protobuf: what an OTLP collector takes over HTTP.

Source: OpenTelemetry Protocol 1.x, sections "OTLP/HTTP" and "Partial Success".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import SEVERITY_NUMBER_INFO, SEVERITY_NUMBER_WARN, LogRecord

from equipoise.events.facts import Alert
from equipoise.integrations.parcels import Parcel
from equipoise.telemetry import INSTRUMENTATION, of_fact

__all__ = ["LogRecords"]

_TRACE = re.compile(r"(?!0{32})[0-9a-f]{32}")
_DEEPEST = 16
"""Protobuf's readers give up at a depth of 100, and each level of JSON is three of protobuf."""
_LARGEST = 2**63
_NANO = 1_000_000_000
_LAST = 2**64 - 1


class LogRecords:
    """One record a fact: `event_name` is `equipoise.` and its kind, the body is the fact, attributes say where it
    belongs, and the trace is that of its turn. An alert is a warning, everything else information.
    """

    content_type = "application/x-protobuf"

    def body(self, parcels: Sequence[Parcel]) -> bytes:
        request = ExportLogsServiceRequest()
        resource = request.resource_logs.add()
        _fill(resource.resource.attributes, {"service.name": INSTRUMENTATION})
        scope = resource.scope_logs.add()
        scope.scope.name = INSTRUMENTATION
        for each in parcels:
            _write(scope.log_records.add(), each)
        body: bytes = request.SerializeToString()
        return body

    def rejected(self, answer: bytes) -> int | None:
        try:
            said = ExportLogsServiceResponse.FromString(answer)
        except DecodeError:
            return None
        rejected: int = said.partial_success.rejected_log_records
        return rejected


def _write(record: LogRecord, parcel: Parcel) -> None:
    row = parcel.row
    fact: dict[str, Any] = orjson.loads(row.body)
    record.time_unix_nano = _nano(row.happened)
    record.observed_time_unix_nano = _nano(parcel.received)
    record.severity_number = SEVERITY_NUMBER_WARN if row.kind == Alert.kind else SEVERITY_NUMBER_INFO
    record.event_name = f"{INSTRUMENTATION}.{row.kind}"
    _put(record.body, fact, 0)
    _fill(record.attributes, of_fact(row.kind, row.event_id, row.experiment, fact))
    trace = fact.get("trace")
    if isinstance(trace, str) and _TRACE.fullmatch(trace):
        record.trace_id = bytes.fromhex(trace)


def _nano(seconds: float) -> int:
    # OTLP has no time before 1970, and 0 stands for an unknown one.
    return min(round(min(max(seconds, 0.0), _LAST / _NANO) * _NANO), _LAST)


# Written in place: a message that is made first and then put into another is copied, at three times the cost.


def _fill(pairs: Any, values: Mapping[str, Any], depth: int = 0) -> None:
    for key, value in values.items():
        pair = pairs.add()
        pair.key = key
        _put(pair.value, value, depth)


def _put(target: AnyValue, value: Any, depth: int) -> None:
    if isinstance(value, str):
        target.string_value = value
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, float):
        target.double_value = value
    elif isinstance(value, int) and -_LARGEST <= value < _LARGEST:
        target.int_value = value
    elif isinstance(value, int) or (value is not None and depth >= _DEEPEST):
        target.string_value = orjson.dumps(value).decode()
    elif isinstance(value, Mapping):
        target.kvlist_value.SetInParent()
        _fill(target.kvlist_value.values, value, depth + 1)
    elif value is not None:
        target.array_value.SetInParent()
        for each in value:
            _put(target.array_value.values.add(), each, depth + 1)
