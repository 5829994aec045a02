"""Pages out of templates: every value is escaped, and nothing on a page comes from elsewhere or is written into it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["asset", "render"]

_TYPES = {"css": "text/css", "js": "text/javascript"}


def render(template: str, **values: object) -> str:
    """A template of this package, filled in; an undefined name is an error.

    >>> "&lt;b&gt;" in render("problem.html", title="No", message="<b>", onwards=None)
    True
    """
    return _environment().get_template(template).render(values)


@cache
def asset(name: str) -> tuple[str, str] | None:
    """A style sheet or script and its media type; None where there is none of that name.

    >>> asset("label.js")[1], asset("../pages.py")
    ('text/javascript', None)
    """
    if name == "page.css":
        return files("equipoise.figures").joinpath(name).read_text(encoding="utf-8"), _TYPES["css"]
    if name not in ("board.css", "label.css", "label.js"):
        return None
    text = files(__package__).joinpath("static").joinpath(name).read_text(encoding="utf-8")
    return text, _TYPES[name.rpartition(".")[2]]


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("equipoise.dashboard", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
