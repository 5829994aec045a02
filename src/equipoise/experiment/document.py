"""YAML text → plain data with the line of every key: strict where YAML is treacherous.

No tag builds an object, a key stands once, a bare `on` or `no` is refused instead of becoming a
boolean, dates stay text, `1e-3` is a number, and a document that unfolds without end is refused.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml

from equipoise.errors import DefinitionError, Fault, dotted

__all__ = ["Document", "Path", "read_document", "read_text"]

Path = tuple[str | int, ...]

_MAX_NODES = 100_000
_INTEGER = re.compile(r"^[-+]?(0|[1-9][0-9]*)$")
_FLOAT = re.compile(r"^[-+]?(([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|(0|[1-9][0-9]*)[eE][-+]?[0-9]+)$")
_EXACT = 2**53 - 1
"""Beyond this JSON cannot tell an integer from its neighbours."""
_NULLS = {"", "~", "null", "Null", "NULL"}
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
# As PyYAML has them; `y` and `n` are text to it, and `n` is a parameter of chat completions.
_TRAPS = {spelt for word in ("on", "off", "yes", "no") for spelt in (word, word.capitalize(), word.upper())}
_CORE = "tag:yaml.org,2002:"


@dataclass(slots=True)
class Document:
    """Plain data (dict, list, str, int, float, bool, None) and the line on which each path stands."""

    data: Any
    file: str
    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    kept: dict[Path, list[int]] = field(default_factory=dict)
    """Of lists that items were set aside from: where the remaining items stand in the file."""

    def original(self, path: Path) -> Path:
        """Where in the file a path is that was found after items were set aside."""
        result: Path = ()
        for step in path:
            left = self.kept.get(result, [])
            result = (*result, left[step] if isinstance(step, int) and step < len(left) else step)
        return result

    def line(self, path: Path) -> int | None:
        """The line of a path, or of the nearest thing around it that is written down."""
        for end in range(len(path), -1, -1):
            if (found := self.lines.get(path[:end])) is not None:
                return found
        return None

    def fault(
        self, path: Path, problem: str, *, accepted: str | None = None, next: str | None = None
    ) -> Fault:
        """A fault at this path, with its file and line."""
        path = self.original(path)
        return Fault(
            problem,
            file=self.file,
            line=self.line(path),
            field=dotted(path) or None,
            accepted=accepted,
            next=next,
        )


def read_text(path: FilePath, *, what: str) -> str:
    """The text of a UTF-8 file; a Fault's worth of sentence (as ValueError) where it cannot be read."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{what} {path} does not exist") from None
    except IsADirectoryError:
        raise ValueError(f"{what} {path} is a folder, not a file") from None
    except OSError as error:
        raise ValueError(f"{what} {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        # No file can have this name.
        raise ValueError(f"{what} {path} cannot be read: {error}") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{what} {path} is not UTF-8 text: line {line} has the byte 0x{raw[error.start]:02x}; "
            "save it as UTF-8"
        ) from None


def read_document(text: str, file: str) -> Document:
    """Parse one YAML document.

    Raises DefinitionError at once for text that is not YAML at all; everything else that is wrong is
    collected in `faults`, so that the reader can report it together with its own.
    """
    document = Document(None, file)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise DefinitionError(
            [
                Fault(
                    f"this is not YAML: {_said(error)}",
                    file=file,
                    line=mark.line + 1 if mark else None,
                )
            ]
        ) from None
    except yaml.YAMLError as error:
        raise DefinitionError(
            [Fault(f"this is not YAML: {' '.join(str(error).split())}", file=file)]
        ) from None
    except RecursionError:
        raise DefinitionError([Fault("this YAML is nested too deeply to read", file=file)]) from None
    if node is None:
        raise DefinitionError([Fault("the file is empty", file=file, next="start from `equipoise init`")])
    try:
        document.data = _Reader(document).build(node, ())
    except RecursionError:
        raise DefinitionError([Fault("this YAML is nested too deeply to read", file=file)]) from None
    return document


class _Reader:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.count = 0
        self.open: set[int] = set()

    def _enter(self, node: yaml.Node) -> None:
        self.count += 1
        if self.count > _MAX_NODES or id(node) in self.open:
            raise DefinitionError(
                [
                    Fault(
                        "aliases make this document unfold without end",
                        file=self.document.file,
                        line=node.start_mark.line + 1,
                        next="write the values out",
                    )
                ]
            )
        self.open.add(id(node))

    def build(self, node: yaml.Node, path: Path) -> Any:
        self._enter(node)
        self.document.lines.setdefault(path, node.start_mark.line + 1)
        try:
            if isinstance(node, yaml.MappingNode):
                self._tag(node, path, "map")
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                self._tag(node, path, "seq")
                return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
            if not isinstance(node, yaml.ScalarNode):
                raise AssertionError("YAML has three kinds of node")
            return self._scalar(node, path)
        finally:
            self.open.discard(id(node))

    def _fault(self, path: Path, problem: str, next: str | None = None) -> None:
        self.document.faults.append(self.document.fault(path, problem, next=next))

    def _tag(self, node: yaml.Node, path: Path, plain: str) -> None:
        if node.tag != _CORE + plain:
            self._fault(
                path,
                f"the tag {_spell(node.tag)} is refused: a definition holds plain values, it builds no objects",
                "remove the tag",
            )

    def _unicode(self, text: str, path: Path) -> str:
        # An escape such as "\ud800" makes half a character, which no UTF-8 and no JSON can hold. Two halves in
        # a row are how JSON escapes one character, and JSON is YAML.
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            self._fault(
                path, "this text holds half a character (a lone surrogate)", "write the whole character"
            )
            return "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in text)
        return text

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: list[tuple[yaml.Node, yaml.Node]] = []
        for key_node, value_node in node.value:
            if key_node.tag == _CORE + "merge":
                merged += self._merged(value_node, path)
                continue
            key = self._key(key_node, path)
            here = (*path, key)
            if key in result:
                self.document.lines[here] = key_node.start_mark.line + 1
                self._fault(here, f"the key '{key}' stands twice", "keep one of them")
            self.document.lines[here] = key_node.start_mark.line + 1
            result[key] = self.build(value_node, here)
        for key_node, value_node in merged:
            key = self._key(key_node, path)
            if key not in result:
                result[key] = self.build(value_node, (*path, key))
        return result

    def _merged(self, node: yaml.Node, path: Path) -> list[tuple[yaml.Node, yaml.Node]]:
        """The keys to merge in, those of a merge inside the merged mapping after its own."""
        if not isinstance(node, yaml.MappingNode):
            self._fault(path, "`<<` merges one mapping, and this is something else")
            return []
        self._enter(node)
        own: list[tuple[yaml.Node, yaml.Node]] = []
        inner: list[tuple[yaml.Node, yaml.Node]] = []
        for key, value in node.value:
            self.count += 1
            if key.tag == _CORE + "merge":
                inner += self._merged(value, path)
            else:
                own.append((key, value))
        self.open.discard(id(node))
        return own + inner

    def _key(self, node: yaml.Node, path: Path) -> str:
        if isinstance(node, yaml.ScalarNode):
            text = self._unicode(str(node.value), path)
            if node.style is None and text in _TRAPS:
                self.document.lines[(*path, text)] = node.start_mark.line + 1
                self._fault(
                    (*path, text), f"a bare `{text}` is a boolean to YAML", f"write '{text}' in quotes"
                )
            return text
        self._fault(path, "a key must be a word, and this is a list or a mapping")
        return f"<line {node.start_mark.line + 1}>"

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        text = self._unicode(str(node.value), path)
        if not node.tag.startswith(_CORE) or node.tag[len(_CORE) :] not in {
            "str",
            "int",
            "float",
            "bool",
            "null",
            "timestamp",
            "value",
            "merge",
        }:
            self._tag(node, path, "str")
            return text
        if node.style is not None or _explicit_string(node):
            return text
        if text in _NULLS:
            return None
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        if text in _TRAPS:
            self._fault(
                path, f"a bare `{text}` is a boolean to YAML", f"write true or false, or '{text}' in quotes"
            )
            return text
        if _INTEGER.match(text):
            # Short texts only: turning an endless one into a number takes endless time.
            if len(text) > 20 or abs(int(text)) > _EXACT:
                self._fault(
                    path, f"{_cut(text)} is beyond the integers that JSON keeps exactly", "write it in quotes"
                )
                return 0
            return int(text)
        if _FLOAT.match(text) and math.isfinite(value := float(text)):
            return value
        return text


def _said(error: yaml.MarkedYAMLError) -> str:
    """The parser's complaint as one clause; where its two halves make one, both."""
    context, problem = error.context or "", error.problem or str(error)
    if problem == "second occurrence":
        return context.split(";", maxsplit=1)[0]
    return f"{context}, {problem}" if problem.startswith("but ") and context else problem


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"


def _explicit_string(node: yaml.ScalarNode) -> bool:
    # A plain scalar whose resolved tag is str although it looks like something else was tagged !!str.
    if node.tag != _CORE + "str":
        return False
    first = node.value[:1]
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers
    return any(
        pattern.match(node.value) for _, pattern in [*resolvers.get(first, []), *resolvers.get(None, [])]
    )


def _spell(tag: str) -> str:
    return "!!" + tag[len(_CORE) :] if tag.startswith(_CORE) else tag
