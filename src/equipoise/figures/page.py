"""One page that needs nothing but itself: no script, no address, a policy that would refuse both."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Undefined
from markupsafe import Markup, escape

from equipoise.figures.blocks import banner, figure, table
from equipoise.figures.numerals import ABSENT, number, p_value, percent, points

__all__ = ["page", "render"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_SHELL = Markup(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
{foot}</body>
</html>
"""
)


def page(title: str, body: Markup, *, foot: str = "") -> str:
    """A complete HTML document around `body`; `title` and `foot` are escaped unless they are markup.

    >>> "<title>A &amp; B</title>" in page("A & B", Markup("<h1>A &amp; B</h1>"))
    True
    """
    closing = Markup("<footer>{}</footer>\n").format(foot) if foot else Markup("")
    policy = Markup(_POLICY)
    return str(_SHELL.format(policy=policy, title=title, style=_style(), body=escape(body), foot=closing))


def render(template_text: str, **values: object) -> Markup:
    """A Jinja2 template, filled in; every value is escaped, an undefined name is an error.

    Filters: `percent`, `points`, `number`, `p_value`. Blocks: `banner`, `table`, `figure`.
    None is shown as an en dash, and so is what a filter is given but is not there.

    >>> render("{{ name }}: {{ rate|percent }}, {{ change|points }}", name="<b>", rate=0.5, change=None)
    Markup('&lt;b&gt;: 50.0%, –')
    """
    return Markup(_environment().from_string(template_text).render(values))


@cache
def _style() -> Markup:
    return Markup(files(__package__).joinpath("page.css").read_text(encoding="utf-8"))


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(percent=percent, points=points, number=number, p_value=p_value)
    environment.globals.update(banner=banner, table=table, figure=figure)
    return environment


def _shown(value: object) -> object:
    """What stands for a value in a template: itself, a dash for None; an undefined name raises."""
    if isinstance(value, Undefined):
        return value
    return ABSENT if value is None else value
