"""What is generated from the public modules: tests/public_api.txt and docs/reference/errors.md.

`make reference` runs this file and renews both; tests/test_public_api.py fails while one is stale.
"""

from __future__ import annotations

import ast
import enum
import hashlib
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from textwrap import indent
from types import FunctionType, MemberDescriptorType, ModuleType, NoneType
from typing import Any

from procore_signin.environments import Environment
from procore_signin.errors import ApiError, ProcoreSignInError

LONGEST_LINE = 80
STARS = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}
PLAIN = {NoneType, str, int, float, bool, Environment}
ROOT = Path(__file__).parents[2]
SNAPSHOT = ROOT / "tests" / "public_api.txt"
ERROR_PAGE = ROOT / "docs" / "reference" / "errors.md"
CHANGELOG = ROOT / "CHANGELOG.md"
COMMAND = "make reference"

OURS = "procore_signin"
MODULES = [
    OURS,
    *(
        f"{OURS}.{name}"
        for name in (
            "alembic",
            "api",
            "app",
            "emulator",
            "environments",
            "errors",
            "events",
            "pytest_plugin",
            "testing",
            "web.django",
            "web.fastapi",
            "web.flask",
            "web.gevent",
            "web.json",
            "web.starlette",
        )
    ),
]
TELL = (
    "The public API has changed. In the newest section of CHANGELOG.md, write what users will "
    "notice, and below its heading, in place of the old mark:"
)
SECTION = re.compile(
    r"^(Args|Attributes|Returns|Raises|Yields):\n((?:[ \t]+.*\n?|\n)*)", re.MULTILINE
)
ENTRY = re.compile(r"^    (\w[\w, ]*):", re.MULTILINE)


def is_a(value: object, kind: type) -> bool:
    """As `isinstance`, which Flask's `current_user` would answer for the user it stands for."""
    return issubclass(type(value), kind)


def is_error(value: object) -> bool:
    return is_a(value, type) and issubclass(value, Exception)  # type: ignore[arg-type]  # a class


def entries(documented: object, section: str) -> list[str]:
    """Return the names that a section of a docstring has entries for."""
    for name, text in SECTION.findall(f"{inspect.getdoc(documented) or ''}\n"):
        if name == section:
            return [each for names in ENTRY.findall(text) for each in names.split(", ")]
    return []


def shown_type(annotation: object) -> str:
    """Return an annotation as it is written, without modules."""
    if annotation is inspect.Parameter.empty:
        return ""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", text)


def shown_value(value: object) -> str:
    """Return a value that says the same in every process and version of Python, else `…`."""
    if type(value) is dict:
        return f"{{{', '.join(f'{key!r}: …' for key in value)}}}"
    if type(value) is tuple and all(type(each) in PLAIN for each in value):
        return repr(value)
    return repr(value) if type(value) in PLAIN else "…"


def shown_signature(function: Any) -> str:
    """Return the parameters and the result of a function, without `self` and `cls`."""
    signature = inspect.signature(function)
    parts, kinds = [], inspect.Parameter
    star = any(p.kind is kinds.VAR_POSITIONAL for p in signature.parameters.values())
    for parameter in signature.parameters.values():
        if parameter.name in {"self", "cls"}:
            continue
        if parameter.kind is kinds.KEYWORD_ONLY and not star:
            star = True
            parts.append("*")
        prefix = STARS.get(parameter.kind.name, "")
        annotation = shown_type(parameter.annotation)
        default = parameter.default
        part = prefix + parameter.name + (f": {annotation}" if annotation else "")
        if default is not kinds.empty:
            equals = " = " if annotation else "="
            part += f"{equals}{shown_value(default)}"
        parts.append(part)
    result = shown_type(signature.return_annotation)
    arrow = f" -> {result}" if result and result != "None" else ""
    shown = ", ".join(parts)
    if len(shown) > LONGEST_LINE:  # then a diff shows which parameter changed
        shown = "".join(f"\n    {part}," for part in parts) + "\n"
    return f"({shown}){arrow}"


def raised(documented: object) -> Iterator[str]:
    names = entries(documented, "Raises")
    if names:
        yield f"raises {', '.join(names)}"


def members(kind: type) -> dict[str, object]:
    """Return what a public class offers: its own, and what it has of private bases of ours."""
    public = [each for each in kind.__mro__[1:] if each.__module__ in MODULES]
    found: dict[str, object] = {}
    for each in kind.__mro__:
        is_private = each.__module__.startswith(f"{OURS}._")
        if each is kind or (is_private and not any(issubclass(base, each) for base in public)):
            for name, value in vars(each).items():
                if not name.startswith("_") and not isinstance(value, MemberDescriptorType):
                    found.setdefault(name, value)
    return found


def public_bases(kind: type) -> list[str]:
    found = []
    for base in kind.__bases__:
        if base.__module__.startswith(f"{OURS}._"):
            found += public_bases(base)
        elif base not in {object, BaseException} and base.__name__ != "Generic":
            found.append(base.__name__)
    return found


def described_class(kind: type) -> Iterator[str]:
    bases = public_bases(kind)
    yield f"class {kind.__name__}" + (f"({', '.join(bases)})" if bases else "")
    if issubclass(kind, enum.Enum):
        yield from (f"    {member.name} = {member.value!r}" for member in kind)
        return
    made_by = vars(kind).get("__init__") or kind.__init__
    if isinstance(made_by, FunctionType):
        yield indent(shown_signature(made_by), "    ")
        yield from (f"        {line}" for line in raised(kind))
    data = {each.name for each in fields(kind)} if is_dataclass(kind) else set()
    documented = [name for name in entries(kind, "Attributes") if name not in data | {"code"}]
    if documented:
        yield f"    attributes {', '.join(documented)}"
    for name, value in sorted(members(kind).items()):
        plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if isinstance(value, property):
            yield f"    {name}: {shown_type(inspect.signature(value.fget).return_annotation)}"  # type: ignore[arg-type]  # it has one
        elif isinstance(plain, FunctionType):
            waits = "async " if inspect.iscoroutinefunction(plain) else ""
            yield indent(f"{waits}{name}{shown_signature(plain)}", "    ")
            yield from (f"        {line}" for line in raised(plain))
        elif name not in data and name not in documented:
            yield f"    {name} = {shown_value(value)}"


def written(name: str, module: ModuleType) -> str:
    """Return how the source introduces what is neither a class nor a function."""
    body = ast.parse(inspect.getsource(module)).body
    body += [inner for node in body if isinstance(node, ast.If | ast.With) for inner in node.body]
    for node in body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=target)) if target == name:
                kind = ast.unparse(node.annotation)
                return name if kind == "Final" else f"{name}: {kind}"
            case ast.Assign(targets=[ast.Name(id=target)]) if target == name:
                return f"{name} = {ast.unparse(node.value)}"
            case ast.FunctionDef() if node.name == name:  # a fixture
                decorator = ast.unparse(node.decorator_list[0])
                return f"@{decorator} {name} -> {ast.unparse(node.returns or ast.Constant(None))}"
            case ast.ImportFrom(module=str(home)):
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return written(alias.name, import_module(home)).replace(alias.name, name, 1)
    raise LookupError(name)


def described(name: str, value: Any, module: ModuleType) -> Iterator[str]:
    """Return the lines of one public name."""
    if is_a(value, type):
        if value.__module__ != module.__name__ and value.__module__ in MODULES:
            yield f"{name} is {value.__module__}.{name}"
        else:
            yield from described_class(value)
    elif is_a(value, FunctionType):
        waits = "async " if inspect.iscoroutinefunction(value) else ""
        yield f"{waits}{name}{shown_signature(value)}"
        yield from (f"    {line}" for line in raised(value))
    else:
        shown = shown_value(value)
        line = written(name, module)
        yield line if shown == "…" or " = " in line else f"{line} = {shown}"


def public_api() -> str:
    """Return every public name, with its signature, and the errors that its docstring names."""
    lines = [
        f"The public API: what docs/reference/versioning.md promises. Renewed by `{COMMAND}`;",
        "a change needs an entry in CHANGELOG.md (tests/test_public_api.py tells how).",
    ]
    for path in MODULES:
        module = import_module(path)
        lines += ["", f"{path}"]
        for name in module.__all__:
            for line in described(name, getattr(module, name), module):
                lines += indent(line, "    ").splitlines()
    return "\n".join(lines) + "\n"


def mark(text: str) -> str:
    """Return the line by which CHANGELOG.md names a snapshot."""
    return f"<!-- public API: {hashlib.sha256(text.encode()).hexdigest()[:12]} -->"


def error_classes() -> dict[type[Exception], str]:
    """Return each class of public error, by where users import it from, bases first."""
    found: dict[type[Exception], str] = {}
    for path in MODULES:
        module = import_module(path)
        found |= {
            value: path
            for value in (getattr(module, name) for name in module.__all__)
            if is_error(value) and value.__module__ == path
        }
    return dict(sorted(found.items(), key=lambda each: (len(each[0].__mro__), each[0].__name__)))


def meaning_and_cure(kind: type[Exception]) -> tuple[str, str]:
    """Return the first sentence of a docstring, and the rest of its prose."""
    prose = SECTION.split(inspect.getdoc(kind) or "")[0]
    meaning, _, cure = " ".join(prose.split()).partition(". ")
    return f"{meaning.rstrip('.')}.", cure


def attribute_lines(kind: type[Exception]) -> Iterator[str]:
    """Return what the docstring says of each attribute, as items of a list."""
    for name, text in SECTION.findall(f"{inspect.getdoc(kind) or ''}\n"):
        if name == "Attributes":
            for entry in re.split(r"\n(?=    \w)", text.strip("\n")):
                attribute, _, words = " ".join(entry.split()).partition(": ")
                yield f"- `{attribute}`: {words}"


def table(kinds: Sequence[type[Exception]], homes: dict[type[Exception], str]) -> Iterator[str]:
    yield "| Code | Class | What it means | What the caller does |"
    yield "|---|---|---|---|"
    for kind in kinds:
        meaning, cure = meaning_and_cure(kind)
        cure = cure or "See the classes below."
        yield f"| `{kind.code}` | `{homes[kind]}.{kind.__name__}` | {meaning} | {cure} |"  # type: ignore[attr-defined]  # ours have one


def error_page() -> str:
    """Return docs/reference/errors.md."""
    homes = error_classes()
    api = [kind for kind in homes if issubclass(kind, ApiError)]
    other = [k for k in homes if issubclass(k, ProcoreSignInError) and k not in api]
    emulator = [kind for kind in homes if not issubclass(kind, ProcoreSignInError)]
    lines = [
        "# Errors",
        "",
        f"<!-- Generated from the docstrings of the classes by `{COMMAND}`. -->",
        "",
        "Each class is one decision of the caller. `error.code` is a short word for it, the same",
        "in every version: for logs, metrics and programs that do not know the classes. In the",
        "JSON (RFC 9457) that answers a request of your application, it is the member `error`; the",
        "member `code` there names the page that a person would see.",
        "",
        "## Signing in, tokens, settings",
        "",
        *table(other, homes),
        "",
        "## Calls to Procore's API",
        "",
        "`procore_signin.api` has all of them, `procore_signin.errors` those that need no httpx2.",
        "`except ProcoreUnavailable` catches `RateLimited`, `ApiUnavailable` and `ApiUnreachable`",
        "too, `except UnexpectedResponse` also `UnexpectedAnswer`.",
        "",
        *table(api, homes),
        "",
        "## The emulator, in tests",
        "",
        *table(emulator, homes),
        "",
        "## What they carry",
        "",
        "A class has the attributes of its bases too.",
    ]
    for kind in homes:
        attributes = list(attribute_lines(kind))
        if attributes:
            lines += ["", f"### {kind.__name__}", "", *attributes]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Renew what is generated, and tell what the change log has to say."""
    before = SNAPSHOT.read_text("utf-8") if SNAPSHOT.exists() else ""
    ERROR_PAGE.parent.mkdir(parents=True, exist_ok=True)
    SNAPSHOT.write_text(public_api(), "utf-8")
    ERROR_PAGE.write_text(error_page(), "utf-8")
    if public_api() != before:
        sys.stdout.write(f"{TELL} {mark(public_api())}\n")


if __name__ == "__main__":
    main()
