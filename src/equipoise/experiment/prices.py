"""What a call costs: list prices as of a date, which a definition or an operator may override."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["AS_OF", "LIST_PRICES", "Price", "cost_of", "cost_usd", "price_of"]

AS_OF = "2026-05-01"
"""When the list was looked at. Prices change: give your own under `prices:` where the cost decides."""


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens; `cached` is the price of prompt tokens read from a cache (None: as others)."""

    input: float
    output: float
    cached: float | None = None


LIST_PRICES: Mapping[str, Price] = {
    "gpt-4.1": Price(2.00, 8.00, 0.50),
    "gpt-4.1-mini": Price(0.40, 1.60, 0.10),
    "gpt-4.1-nano": Price(0.10, 0.40, 0.025),
    "gpt-4o": Price(2.50, 10.00, 1.25),
    "gpt-4o-mini": Price(0.15, 0.60, 0.075),
    "o3": Price(2.00, 8.00, 0.50),
    "o4-mini": Price(1.10, 4.40, 0.275),
    "text-embedding-3-small": Price(0.02, 0.0),
    "text-embedding-3-large": Price(0.13, 0.0),
}
"""Published list prices of models that are often asked by these names (source: the provider's price page)."""


def price_of(model: str, prices: Mapping[str, Price]) -> Price | None:
    """The price of a model: by its name, or by the name without a date such as `-2025-04-14`; None if unknown.

    >>> price_of("gpt-4.1-mini-2025-04-14", LIST_PRICES).input
    0.4
    """
    if (found := prices.get(model)) is not None:
        return found
    stem, _, day = model.rpartition("-")
    if day.isdigit() and len(day) in (2, 4, 8):
        return price_of(stem, prices)
    return None


def cost_usd(price: Price, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> float:
    """The cost of a call in US dollars.

    >>> round(cost_usd(Price(2.0, 8.0, 0.5), 1000, 100, 400), 6)
    0.0022
    """
    cached = price.input if price.cached is None else price.cached
    fresh = max(input_tokens - cached_tokens, 0)
    return (fresh * price.input + cached_tokens * cached + output_tokens * price.output) / 1e6


def cost_of(
    models: Iterable[object],
    prices: Mapping[str, Price],
    input_tokens: int | None,
    output_tokens: int | None,
    cached_tokens: int | None,
) -> float | None:
    """The cost of a call by the first of its names that has a price; None without one, or if nothing was counted.

    `models` are the name the reply gives, which may carry a date, and the one that was asked for.

    >>> cost_of((None, "small"), {"small": Price(2.0, 8.0)}, 500_000, None, None)
    1.0
    """
    if input_tokens is None:
        return None
    for model in models:
        price = price_of(model, prices) if isinstance(model, str) else None
        if price is not None:
            return cost_usd(price, input_tokens, output_tokens or 0, cached_tokens or 0)
    return None
