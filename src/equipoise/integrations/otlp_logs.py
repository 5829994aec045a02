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
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.logs.v1.logs_pb2 import SEVERITY_NUMBER_INFO, LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

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
    belongs, and the trace is that of its turn.
    """

    content_type = "application/x-protobuf"

    def body(self, parcels: Sequence[Parcel]) -> bytes:
        request = ExportLogsServiceRequest(
            resource_logs=[
                ResourceLogs(
                    resource=Resource(attributes=_pairs({"service.name": INSTRUMENTATION})),
                    scope_logs=[
                        ScopeLogs(
                            scope=InstrumentationScope(name=INSTRUMENTATION),
                            log_records=[_record(each) for each in parcels],
                        )
                    ],
                )
            ]
        )
        body: bytes = request.SerializeToString()
        return body

    def rejected(self, answer: bytes) -> int | None:
        try:
            said = ExportLogsServiceResponse.FromString(answer)
        except DecodeError:
            return None
        rejected: int = said.partial_success.rejected_log_records
        return rejected


def _record(parcel: Parcel) -> LogRecord:
    row = parcel.row
    fact: dict[str, Any] = orjson.loads(row.body)
    trace = fact.get("trace")
    return LogRecord(
        time_unix_nano=_nano(row.happened),
        observed_time_unix_nano=_nano(parcel.received),
        severity_number=SEVERITY_NUMBER_INFO,
        event_name=f"{INSTRUMENTATION}.{row.kind}",
        body=_value(fact),
        attributes=_pairs(of_fact(row.kind, row.event_id, row.experiment, fact)),
        trace_id=bytes.fromhex(trace) if isinstance(trace, str) and _TRACE.fullmatch(trace) else b"",
    )


def _nano(seconds: float) -> int:
    # OTLP has no time before 1970, and 0 stands for an unknown one.
    return min(round(min(max(seconds, 0.0), _LAST / _NANO) * _NANO), _LAST)


def _pairs(values: Mapping[str, Any], depth: int = 0) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value, depth)) for key, value in values.items()]


def _value(value: Any, depth: int = 0) -> AnyValue:
    if value is None:
        return AnyValue()
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int) and -_LARGEST <= value < _LARGEST:
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, int) or depth >= _DEEPEST:
        return AnyValue(string_value=orjson.dumps(value).decode())
    if isinstance(value, Mapping):
        return AnyValue(kvlist_value=KeyValueList(values=_pairs(value, depth + 1)))
    return AnyValue(array_value=ArrayValue(values=[_value(each, depth + 1) for each in value]))
