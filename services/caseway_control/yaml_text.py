"""Read YAML 1.2 or JSON text into plain values, and remember where each of them stands.

Works on the parser's events and resolves plain words itself, for three reasons: a value that two
YAML versions read differently is refused, nothing is built that the text does not spell out
(aliases, tags), and an error found later can still name line and column.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from caseway.errors import ContractError

# A document is read by people; the largest shipped one is a tenth of this.
SIZE_MAX_BYTES = 256 * 1024
# No document nests half as deep; the reader recurses once a level.
DEPTH_MAX = 32
# Ten times the largest document we know; the parser takes half a second for as many.
NODES_MAX = 10_000

Path = tuple[str | int, ...]

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLEAN = {"true": True, "True": True, "TRUE": True} | dict.fromkeys(
    ("false", "False", "FALSE"), False
)
# Booleans in YAML 1.1, text in 1.2: whoever wrote them may have meant either.
_TWO_MEANINGS = re.compile(r"(?i:yes|no|on|off)|[-+]?0[0-9]+|\+[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+")
# Eighteen digits are exact in every reader's 64-bit integer.
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?i:inf)|\.(?i:nan)"
)
_SHOWN_KEY = re.compile(r"[A-Za-z_$][A-Za-z0-9_.$-]{0,63}")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line and a column, both counted from 1 as editors do."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line} column {self.column}"


@dataclass(slots=True)
class YamlText:
    """The plain values of one document, with the place of every key and value."""

    value: Any = None
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)

    def place(self, path: Path, *, key: bool = False) -> Place:
        """Where a value stands, or with `key` the key before it."""
        places = self.keys if key and path in self.keys else self.values
        return places[path]

    def pointer(self, path: Path) -> str:
        """A JSON pointer that shows plain keys alone: any other key may be a person's value."""
        shown = (
            str(step) if isinstance(step, int) or _SHOWN_KEY.fullmatch(step) else "…"
            for step in path
        )
        return "/" + "/".join(shown)


def read_yaml(text: str | bytes, source: str) -> YamlText:
    """The one document in a text.

    Raises:
        ContractError: YAML_ENCODING, YAML_TOO_LARGE, YAML_SYNTAX, YAML_TAB, YAML_CHARS,
            YAML_EMPTY, YAML_DOCUMENTS, YAML_VERSION, YAML_ALIAS, YAML_TAG, YAML_DEPTH, YAML_KEY,
            YAML_DUPLICATE_KEY, YAML_FLOAT, YAML_NUMBER or YAML_AMBIGUOUS.
    """
    return _Reader(_decoded(text, source), source).read()


def _decoded(text: str | bytes, source: str) -> str:
    try:
        raw = text.encode() if isinstance(text, str) else text
        if len(raw) > SIZE_MAX_BYTES:
            problem = f"has {len(raw)} bytes; a document has at most {SIZE_MAX_BYTES}"
            raise _refused("YAML_TOO_LARGE", source, Place(1, 1), problem)
        return raw.decode()
    except UnicodeEncodeError as invalid:
        assert isinstance(text, str)
        place = _place_of(text, invalid.start)
        raise _refused("YAML_ENCODING", source, place, "is not UTF-8; save it as UTF-8") from None
    except UnicodeDecodeError as invalid:
        place = _place_of(raw[: invalid.start].decode(), invalid.start)
        problem = f"byte {invalid.start} is not UTF-8; save it as UTF-8"
        raise _refused("YAML_ENCODING", source, place, problem) from None


def _place_of(text: str, position: int) -> Place:
    before = text[:position]
    return Place(before.count("\n") + 1, len(before) - before.rfind("\n"))


def _refused(code: str, source: str, place: Place, problem: str) -> ContractError:
    return ContractError(f"{source}: {place}: {problem}", code=code, where=str(place))


class _Reader:
    def __init__(self, text: str, source: str) -> None:
        self._text = text
        self._source = source
        self._events: Iterator[Event] = iter(())
        self._written = YamlText()

    def read(self) -> YamlText:
        self._events = self._parsed()
        next(self._events)  # the stream begins
        start = next(self._events)
        if not isinstance(start, DocumentStartEvent):
            raise self._refusal("YAML_EMPTY", start, "holds no document; begin with apiVersion")
        if start.version not in (None, (1, 2)):
            raise self._refusal("YAML_VERSION", start, "asks for another version than YAML 1.2")
        self._written.value = self._node(next(self._events), ())
        next(self._events)  # the document ends
        after = next(self._events)
        if not isinstance(after, StreamEndEvent):
            raise self._refusal("YAML_DOCUMENTS", after, "a second document; write one a file")
        return self._written

    def _parsed(self) -> Iterator[Event]:
        """The parser's events; whatever it raises becomes one error with a place."""
        last = Place(1, 1)
        try:
            for event in YAML(typ="safe", pure=True).parse(self._text):
                last = _place(event)
                yield event
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = Place(mark.line + 1, mark.column + 1) if mark else last
            raise self._syntax(error, place) from None
        except YAMLError as error:
            place = _place_of(self._text, getattr(error, "position", 0) or 0)
            problem = "a control character; write text without it"
            raise _refused("YAML_CHARS", self._source, place, problem) from None
        except (ArithmeticError, LookupError, ValueError):
            # The parser's own slips, such as an escape beyond the last Unicode character.
            problem = "is not valid YAML near here; check escapes and quotes"
            raise _refused("YAML_SYNTAX", self._source, last, problem) from None

    def _syntax(self, error: MarkedYAMLError, place: Place) -> ContractError:
        problem = error.problem or "unreadable"
        if r"'\t'" in problem:
            text = "a tab where blanks belong; indent with spaces"
            return _refused("YAML_TAB", self._source, place, text)
        text = f"is not valid YAML: {problem}"
        if "flow" in (error.context or ""):
            text += '; close every bracket, and quote an interval: "[0..5000)"'
        return _refused("YAML_SYNTAX", self._source, place, text)

    def _refusal(self, code: str, event: Event, problem: str) -> ContractError:
        return _refused(code, self._source, _place(event), problem)

    def _node(self, event: Event, path: Path) -> Any:
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None) is not None:
            problem = "an alias or anchor; write the value out where it is needed"
            raise self._refusal("YAML_ALIAS", event, problem)
        assert isinstance(event, NodeEvent)
        if getattr(event, "tag", None) is not None:
            raise self._refusal("YAML_TAG", event, "a tag; drop it, and quote what is text")
        if len(path) > DEPTH_MAX:
            problem = f"nests deeper than {DEPTH_MAX} levels; flatten it"
            raise self._refusal("YAML_DEPTH", event, problem)
        if len(self._written.values) >= NODES_MAX:
            problem = f"more than {NODES_MAX} values; split the document"
            raise self._refusal("YAML_TOO_LARGE", event, problem)
        self._written.values[path] = _place(event)
        if isinstance(event, MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(path)
        assert isinstance(event, ScalarEvent)
        return self._scalar(event)

    def _sequence(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._key(event)
            below = (*path, key)
            if key in entries:
                name, first = self._written.pointer(below), self._written.keys[below]
                problem = f"{name}: is written a second time, first at {first}; keep one"
                raise self._refusal("YAML_DUPLICATE_KEY", event, problem)
            self._written.keys[below] = _place(event)
            value = next(self._events)
            entries[key] = self._node(value, below)
            if entries[key] is None and value.end_mark.index == value.start_mark.index:
                # A value that is not written has no place of its own.
                self._written.values[below] = self._written.keys[below]
        return entries

    def _key(self, event: Event) -> str:
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None) is not None:
            raise self._refusal("YAML_ALIAS", event, "an alias or anchor as a key; write it out")
        if isinstance(event, ScalarEvent) and event.tag is None:
            text = self._characters(event)
            # A key is a name, so `on:` and `no:` are text; a number or null has no name.
            is_name = not event.implicit[0] or not (_NUMBER.fullmatch(text) or text in _NULL)
            if is_name and text != "<<":
                return text
        raise self._refusal("YAML_KEY", event, "a key that is no plain text; quote it")

    def _scalar(self, event: ScalarEvent) -> Any:
        text = self._characters(event)
        if not event.implicit[0]:
            return text
        if text in _NULL:
            return None
        if text in _BOOLEAN:
            return _BOOLEAN[text]
        if _TWO_MEANINGS.fullmatch(text):
            problem = "means different things in YAML 1.1 and 1.2; write true, false or a plain"
            problem += " decimal number, or quote it"
            raise self._refusal("YAML_AMBIGUOUS", event, problem)
        if _INTEGER.fullmatch(text):
            return int(text)
        if _NUMBER.fullmatch(text):
            is_long = text.lstrip("-").isdigit()
            problem = "a number of more than 18 digits" if is_long else "a float, which is inexact"
            code = "YAML_NUMBER" if is_long else "YAML_FLOAT"
            raise self._refusal(code, event, f'{problem}; quote it, e.g. "12.50"')
        return text

    def _characters(self, event: ScalarEvent) -> str:
        """The text with JSON's escaped surrogate pairs joined; a lone one is no character."""
        text = str(event.value)
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            problem = "half of a surrogate pair; write the whole character"
            raise self._refusal("YAML_CHARS", event, problem) from None


def _place(event: Event) -> Place:
    mark = event.start_mark
    return Place(mark.line + 1, mark.column + 1)
