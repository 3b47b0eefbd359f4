"""docs/reference/json.md says which JSON there is, with the types and the codes of the code."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import MISSING, fields
from types import NoneType, UnionType
from typing import Any, get_args

from pages import DOCS, run_by

from procore_signin._web import api_problems, problems
from procore_signin._web.paths import Paths
from procore_signin._web.problems import Problem
from procore_signin.web import json as shapes

PAGE = DOCS / "reference" / "json.md"
WORDS = {str: "string", int: "number", bool: "boolean", dt.datetime: "string", NoneType: "null"}


def typescript(kind: Any) -> str:
    """Return the type of TypeScript that the JSON of `kind` has."""
    if isinstance(kind, UnionType):
        return " | ".join(map(typescript, get_args(kind)))
    if get_args(kind):  # tuple[X, ...]
        return f"{typescript(get_args(kind)[0])}[]"
    return WORDS.get(kind) or str(kind.__name__)


def interface(shape: Any) -> str:
    members = [
        f"  {each.name}{'' if each.default is MISSING else '?'}: {typescript(each.type)};"
        for each in fields(shape)
    ]
    return "\n".join((f"export interface {shape.__name__} {{", *members, "}"))


def test_the_types_for_typescript_are_those_of_the_responses() -> None:
    [block] = run_by("json-types")
    shown = re.findall(r"^export interface .*?^}", block.text, re.MULTILINE | re.DOTALL)
    assert sorted(shown) == sorted(interface(getattr(shapes, name)) for name in shapes.__all__)


def test_every_code_is_on_the_page_with_its_status() -> None:
    known = {
        (each.code, each.status)
        for module in (problems, api_problems)
        for each in vars(module).values()
        if isinstance(each, Problem)
    }
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert {(code, int(status)) for code, status in rows} == known
    assert len(rows) == len(known)


def test_every_path_on_the_page_exists() -> None:
    shown = re.findall(r"`(?:GET|POST) (/[\w/-]+)`", PAGE.read_text("utf-8"))
    under = Paths.under("/procore")
    assert set(shown) == {
        *(under.session, under.sessions, under.end_session, under.company, under.start),
        *(under.sign_out, under.sign_out_everywhere, under.disconnect),
    }
