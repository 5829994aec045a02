"""Numbers as people read them: percent, percentage points, plain numbers and p-values.

What is absent (None, an undefined name in a template, NaN) is shown as an en dash.
"""

from __future__ import annotations

import math

from jinja2 import Undefined

__all__ = ["ABSENT", "fixed", "number", "p_value", "percent", "points"]

ABSENT = "–"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def percent(x: object, digits: int = 1) -> str:
    """A share, given as a fraction, as a percentage.

    >>> percent(0.6234), percent(-0.05, digits=0), percent(None)
    ('62.3%', '−5%', '–')
    """
    value = _present(x)
    return ABSENT if value is None else fixed(value * 100, digits) + "%"


def points(x: object, digits: int = 2) -> str:
    """A difference of two shares, given as a fraction, in percentage points and with its sign.

    >>> points(0.0042), points(-0.01), points(0), points(None)
    ('+0.42 pp', '−1.00 pp', '0.00 pp', '–')
    """
    value = _present(x)
    return ABSENT if value is None else fixed(value * 100, digits, signed=True) + " pp"


def number(x: object, digits: int = 3) -> str:
    """A number to `digits` significant digits; no digit before the decimal point is ever dropped.

    >>> number(0.012345), number(1234.5), number(2_500_000), number(-1.5), number(1.2e-7), number(None)
    ('0.0123', '1,234', '2,500,000', '−1.50', '1.20 × 10⁻⁷', '–')
    """
    value = _present(x)
    if value is None:
        return ABSENT
    if isinstance(x, int) or value == 0:
        return _minus(f"{x:,}" if isinstance(x, int) else "0")
    if math.isinf(value):
        return fixed(value, 0)
    shown = f"{value:.{digits - 1}e}"
    mantissa, _, exponent = shown.partition("e")
    power = int(exponent)
    if power < -4 or power > 14:
        return f"{_minus(mantissa)} × 10{str(power).translate(_SUPERSCRIPTS)}"
    return fixed(value, max(0, digits - 1 - power))


def p_value(p: object) -> str:
    """A p-value with its letter, to four decimals where it matters and three elsewhere.

    >>> p_value(0.0019), p_value(3e-9), p_value(0.423), p_value(0.99996), p_value(None)
    ('p = 0.0019', 'p < 0.0001', 'p = 0.423', 'p > 0.999', '–')
    """
    value = _present(p)
    if value is None:
        return ABSENT
    if not 0 <= value <= 1:
        raise ValueError(f"a p-value lies between 0 and 1, this is {value}")
    if value < 0.0001:
        return "p < 0.0001"
    if value > 0.999:
        return "p > 0.999"
    return f"p = {value:.4f}" if value < 0.1 else f"p = {value:.3f}"


def fixed(value: float, decimals: int, *, signed: bool = False) -> str:
    """A number with a fixed count of decimals, thousands separators and a true minus sign.

    >>> fixed(-1234.5, 1), fixed(0.5, 2, signed=True), fixed(-0.001, 1, signed=True), fixed(float("-inf"), 2)
    ('−1,234.5', '+0.50', '0.0', '−∞')
    """
    if math.isinf(value):
        return "−∞" if value < 0 else "+∞" if signed else "∞"
    text = f"{value:,.{decimals}f}"
    if float(text.replace(",", "")) == 0:
        return text.lstrip("-")
    return ("+" if signed and value > 0 else "") + _minus(text)


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _present(x: object) -> float | None:
    """The number, or None for what is absent; anything that is not a number is a mistake."""
    if x is None or isinstance(x, Undefined):
        return None
    value = float(x)  # type: ignore[arg-type]  # a str or an object without __float__ is refused here
    return None if math.isnan(value) else value
