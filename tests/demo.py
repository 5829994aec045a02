"""The smallest experiment there is: two models, conversations, one metric."""

from __future__ import annotations

from typing import Any

DEMO: dict[str, Any] = {
    "name": "demo",
    "hypothesis": "A newer model resolves more.",
    "unit": "conversation",
    "changes": ["model"],
    "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
    "metrics": {"resolution_rate": {"priority": "primary"}},
}
