"""`--query`: a small part of jq's language, with jq's meaning.

```
query  = stage *( "|" stage )
stage  = path | "length" | "keys" | "{" member *( "," member ) "}"
path   = "." | step *step                       the first step begins with "."
step   = "." name | "." string | [ "." ] "[" [ string | integer ] "]"
member = name [ ":" path ]                      that path without "[]"
```

A name is letters, digits and `_`, not a digit first; a string is one of JSON. There is nothing
else: no `,` outside braces, no `select`, no arithmetic, no `?`. White space is free between the
parts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

Stage = Callable[[Any], Iterator[Any]]

_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<integer>-?[0-9]{1,15})
    | (?P<sign>[.\[\]{},:|])
    )""",
    re.VERBOSE,
)
_KINDS: Final[dict[type, str]] = {
    type(None): "null",
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


class QueryInvalid(ValueError):
    """The query is not of the language. The message says where and why."""


class QueryFailed(Exception):
    """The query does not fit the value, such as a name that is asked of a number."""


def compile_query(text: str) -> Stage:
    """Return a function that yields what the query `text` makes of a JSON value.

    The function raises `QueryFailed` where jq would fail.

    Raises:
        QueryInvalid: `text` is no query.
    """
    return _Parser(text).query()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        place = 0
        text = text.rstrip()
        while place < len(text):
            found = _TOKEN.match(text, place)
            if found is None:
                rest = text[place:].strip()
                raise QueryInvalid(f"what begins with {rest[:12]!r} is not understood")
            kind = str(found.lastgroup)
            self._tokens.append((kind, found[kind]))
            place = found.end()

    def query(self) -> Stage:
        stages = [self._stage()]
        while self._tokens:
            self._expect("|")
            stages.append(self._stage())
        return _piped(stages)

    def _stage(self) -> Stage:
        kind, text = self._peek()
        if (kind, text) == ("sign", "{"):
            return self._object()
        if kind == "name":
            self._tokens.pop(0)
            if text not in _FUNCTIONS:
                known = " and ".join(sorted(_FUNCTIONS))
                raise QueryInvalid(
                    f"there is no function {text!r}, only {known}; a name needs a dot"
                )
            return _FUNCTIONS[text]
        return _piped(self._path())

    def _path(self, *, single: bool = False) -> list[Stage]:
        if self._peek() != ("sign", "."):
            raise QueryInvalid(f"{self._peek()[1]!r} stands where a path should begin with a dot")
        steps: list[Stage] = []
        while self._peek() in {("sign", "."), ("sign", "[")}:
            dotted = self._take("sign", ".")
            if self._take("sign", "["):
                step = self._in_brackets()
                if single and step is _each:
                    raise QueryInvalid("a member in braces has one value: its path has no []")
                steps.append(step)
                continue
            kind, text = self._peek()
            if kind in {"name", "string"}:
                self._tokens.pop(0)
                steps.append(_member(json.loads(text) if kind == "string" else text))
            elif dotted and not steps:
                break  # a dot alone: the value itself
            else:
                raise QueryInvalid("a name is missing after a dot")
        return steps

    def _in_brackets(self) -> Stage:
        kind, text = self._peek()
        step: Stage = _each
        if kind == "string":
            step = _member(json.loads(text))
        elif kind == "integer":
            step = _element(int(text))
        if step is not _each:
            self._tokens.pop(0)
        self._expect("]")
        return step

    def _object(self) -> Stage:
        members: dict[str, Stage] = {}
        sign = "{"
        while self._take("sign", sign):
            kind, name = self._peek()
            if kind != "name":
                raise QueryInvalid("a name is missing in braces")
            self._tokens.pop(0)
            if self._take("sign", ":"):
                members[name] = _piped(self._path(single=True))
            else:
                members[name] = _member(name)
            sign = ","
        self._expect("}")
        return _object_of(members)

    def _peek(self) -> tuple[str, str]:
        return self._tokens[0] if self._tokens else ("end", "the end")

    def _take(self, kind: str, text: str) -> bool:
        if self._peek() != (kind, text):
            return False
        self._tokens.pop(0)
        return True

    def _expect(self, sign: str) -> None:
        if not self._take("sign", sign):
            raise QueryInvalid(f"{self._peek()[1]!r} stands where {sign!r} should")


def _piped(stages: list[Stage]) -> Stage:
    def run(value: Any, place: int = 0) -> Iterator[Any]:
        if place == len(stages):
            yield value
            return
        for each in stages[place](value):
            yield from run(each, place + 1)

    return run


def _member(name: str) -> Stage:
    def step(value: Any) -> Iterator[Any]:
        if value is not None and not isinstance(value, dict):
            raise QueryFailed(f"{_kind(value)} has no member {json.dumps(name)}")
        yield None if value is None else value.get(name)

    return step


def _element(place: int) -> Stage:
    def step(value: Any) -> Iterator[Any]:
        if value is not None and not isinstance(value, list):
            raise QueryFailed(f"{_kind(value)} has no element [{place}]")
        yield value[place] if value and -len(value) <= place < len(value) else None

    return step


def _each(value: Any) -> Iterator[Any]:
    if not isinstance(value, list | dict):
        raise QueryFailed(f"{_kind(value)} has no elements for []")
    yield from value.values() if isinstance(value, dict) else value


def _length(value: Any) -> Iterator[Any]:
    match value:
        case None:
            yield 0
        case bool():
            raise QueryFailed("a boolean has no length")
        case int() | float():
            yield abs(value)
        case _:
            yield len(value)


def _keys(value: Any) -> Iterator[Any]:
    if not isinstance(value, list | dict):
        raise QueryFailed(f"{_kind(value)} has no keys")
    yield sorted(value) if isinstance(value, dict) else list(range(len(value)))


def _object_of(members: dict[str, Stage]) -> Stage:
    def make(value: Any) -> Iterator[Any]:
        yield {name: next(stage(value)) for name, stage in members.items()}

    return make


def _kind(value: Any) -> str:
    kind = _KINDS[type(value)]
    return kind if kind == "null" else f"{'an' if kind[0] in 'ao' else 'a'} {kind}"


_FUNCTIONS: Final[dict[str, Stage]] = {"keys": _keys, "length": _length}
