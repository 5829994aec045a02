"""Where a variant's requests go: what can be said of it, and what cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from equipoise.errors import DefinitionError
from equipoise.experiment.endpoint import Endpoint, Fallback, Timeouts, parse_endpoint
from equipoise.experiment.reading import load_experiment


def test_an_endpoint_is_read_whole() -> None:
    """Every key of it; a slash at the end of an address means nothing, and durations are seconds."""
    assert parse_endpoint({}) == Endpoint()
    assert parse_endpoint(
        {
            "base_url": "https://models.example.org/v1/",
            "key_env": "MODELS_KEY",
            "retries": 0,
            "timeouts": {"connect": 1, "first_byte": "500ms", "between_chunks": "10s", "total": "2m"},
            "fallback": {"model": "small", "base_url": "http://[::1]:8000", "key_env": "OTHER_KEY"},
            "requests_per_minute": 60,
            "tokens_per_minute": 1e6,
        }
    ) == Endpoint(
        base_url="https://models.example.org/v1",
        key_env="MODELS_KEY",
        retries=0,
        timeouts=Timeouts(connect=1.0, first_byte=0.5, between_chunks=10.0, total=120.0),
        fallback=Fallback(model="small", base_url="http://[::1]:8000", key_env="OTHER_KEY"),
        requests_per_minute=60.0,
        tokens_per_minute=1e6,
    )


URL = "a URL such as https://api.example.org/v1, without user, password, query or fragment"
KEYS = "base_url, key_env, retries, timeouts, fallback, requests_per_minute, tokens_per_minute"
REFUSED: list[tuple[dict[str, Any], tuple[str, ...], str, str]] = [
    ({"url": "x"}, ("url",), "unknown key 'url'", KEYS),
    *(
        ({"base_url": url}, ("base_url",), "this is not the address of an endpoint", URL)
        for url in (
            "api.example.org", "ftp://example.org", "https://", "https://u:p@example.org", "https://example.org?key=1",
            "https://example.org/#x", "https://example.org:0", "https://example.org:99999", "https://exa mple.org", 3, ["x"],
            "https://example.org/\u200b", "https://[::1",
        )
    ),
    *(
        ({"key_env": key}, ("key_env",), "this is not the name of an environment variable", "a name such as OPENAI_API_KEY")
        for key in ("sk-abc", "", "1A", 3, "A B", "A\n")
    ),
    ({"retries": 6}, ("retries",), "6 cannot be read here", "a whole number to 5"),
    ({"retries": True}, ("retries",), "True cannot be read here", "a whole number to 5"),
    ({"retries": -1}, ("retries",), "-1 cannot be read here", "a whole number to 5"),
    ({"timeouts": 3}, ("timeouts",), "3 cannot be read here", "a mapping with connect, first_byte, between_chunks, total"),
    ({"timeouts": {"read": "3s"}}, ("timeouts", "read"), "unknown key 'read'", "connect, first_byte, between_chunks, total"),
    *(
        ({"timeouts": {"total": value}}, ("timeouts", "total"), f"{value!r} cannot be read here", "a duration such as '30s', to one day")
        for value in (0, -1, "soon", "2d", float("nan"), float("inf"), True, None, [])
    ),
    ({"fallback": None}, ("fallback",), "None cannot be read here", "a mapping with model, base_url, key_env"),
    ({"fallback": {"model": " "}}, ("fallback", "model"), "' ' cannot be read here", "the name of a model"),
    ({"requests_per_minute": 0}, ("requests_per_minute",), "0 cannot be read here", "a number from 1 on"),
    ({"tokens_per_minute": "9"}, ("tokens_per_minute",), "'9' cannot be read here", "a number from 1 on"),
    ({"tokens_per_minute": float("nan")}, ("tokens_per_minute",), "nan cannot be read here", "a number from 1 on"),
]  # fmt: skip


@pytest.mark.parametrize("said, path, problem, accepted", REFUSED, ids=lambda value: str(value)[:30])
def test_what_is_no_endpoint_is_refused(
    said: dict[str, Any], path: tuple[str, ...], problem: str, accepted: str
) -> None:
    """With the path below `endpoint`, what was wrong and what would do; what may be a key is not repeated."""
    with pytest.raises(ValueError) as refused:
        parse_endpoint(said)
    assert refused.value.args == (path, problem, accepted)


def test_a_definition_tells_where_the_fault_is(tmp_path: Path) -> None:
    """The field is named down to the key."""
    definition = {
        "name": "demo",
        "hypothesis": "A newer model resolves more.",
        "unit": "conversation",
        "changes": ["endpoint"],
        "variants": {"control": {}, "treatment": {"endpoint": {"timeouts": {"total": "soon"}}}},
        "metrics": {"resolution_rate": {"priority": "primary"}},
    }
    file = tmp_path / "experiment.json"
    file.write_text(json.dumps(definition), "utf-8")
    with pytest.raises(DefinitionError) as refused:
        load_experiment(file)
    assert [fault.field for fault in refused.value.faults] == ["variants.treatment.endpoint.timeouts.total"]
