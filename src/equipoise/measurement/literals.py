"""Text and names as the engine's query language spells them."""

from __future__ import annotations

__all__ = ["quoted", "text_literal"]


def text_literal(text: str) -> str:
    """The text as a literal of the query language.

    >>> text_literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """The name of a column, whatever is in it.

    >>> print(quoted('the "best" arm'))
    "the ""best"" arm"
    """
    return '"' + name.replace('"', '""') + '"'
