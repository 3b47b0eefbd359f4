"""How Sphinx builds the site: `make docs`. Why these tools: decisions/0030."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import version as version_of
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING

from pygments.lexers.special import TextLexer
from sphinx.pycode import ModuleAnalyzer

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "procore-signin"
author = "The procore-signin authors"
copyright = author  # noqa: A001  # Sphinx's name for it
version = release = version_of("procore-signin")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# The guides for frameworks also stand at the addresses that they had before, as links.
exclude_patterns = ["conf.py", "fastapi.md", "flask.md", "django.md"]
source_suffix = {".md": "markdown"}

# The anchors that GitHub gives to headings, so that one link works in both places.
myst_heading_anchors = 4

# What stands in single backticks in a docstring is code, and a link where the name is documented.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Calls then raise", "params_style")]
toc_object_entries_show_parents = "hide"
add_module_names = False

html_theme = "furo"
html_title = "procore-signin"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#9a3d06",
        "color-brand-content": "#9a3d06",
        "color-brand-visited": "#7a3a52",
    },
    "dark_css_variables": {
        "color-brand-primary": "#ffa468",
        "color-brand-content": "#ffa468",
        "color-brand-visited": "#dba3c0",
    },
}

# Blocks of docstrings leave things out with an ellipsis, which no lexer of Python knows.
suppress_warnings = ["misc.highlighting_failure"]

PUBLIC = [
    import_module(f"procore_signin{name}")
    for name in (
        ".errors",
        ".environments",
        "",
        ".events",
        ".api",
        ".app",
        ".emulator",
        ".testing",
        ".pytest_plugin",
        ".web.starlette",
        ".web.fastapi",
        ".web.flask",
        ".web.django",
        ".web.gevent",
        ".web.json",
        ".alembic",
    )
]
"""The public modules. What several of them offer is described where it comes first here."""


_FENCE = re.compile(r"^(\s*)```(\w*)$")


def _fences_to_blocks(
    _app: Sphinx, _what: str, _name: str, _obj: object, _options: object, lines: list[str]
) -> None:
    """Let a docstring show code as Markdown does: between fences."""
    written: list[str] = []
    indent: str | None = None
    for line in lines:
        fence = _FENCE.match(line)
        if fence and indent is None:
            indent = fence[1]
            written += ["", f"{indent}.. code-block:: {fence[2] or 'text'}", ""]
        elif fence:
            indent = None
            written.append("")
        else:
            written.append(line if indent is None or not line else f"    {line}")
    lines[:] = written


def _is_described(found: object) -> bool:
    """Tell a class or function, without a look behind the proxies of Flask and Django."""
    return issubclass(type(found), type | FunctionType)


def _names(module: ModuleType) -> list[str]:
    """Return what a module offers, loaded: some names are looked up when they are first used."""
    if hasattr(module, "__all__"):
        return [name for name in module.__all__ if hasattr(module, name)]
    return [
        name
        for name, found in vars(module).items()
        if not name.startswith("_") and _is_described(found) and found.__module__ == module.__name__
    ]


for _module in PUBLIC:
    for _name, _value in list(vars(_module).items()):
        if type(_value).__name__ in {"LocalProxy", "SimpleLazyObject"}:
            setattr(_module, _name, None)  # autodoc would look behind it, and no request is there


def _homes() -> dict[tuple[str, int], str]:
    homes: dict[tuple[str, int], str] = {}
    for module in PUBLIC:
        for name in _names(module):
            homes.setdefault((name, id(vars(module)[name])), module.__name__)
    return homes


HOMES = _homes()


def _skip(
    app: Sphinx,
    what: str,
    name: str,
    found: object,
    _skip: bool,  # noqa: FBT001  # the shape of Sphinx's event
    _options: object,
) -> bool | None:
    """Leave out of a module what only works inside it, and what another page describes."""
    if what != "module":
        return None
    module = import_module(app.env.current_document.autodoc_module or "procore_signin")
    short = name.rpartition(".")[2]
    return short not in _names(module) or HOMES[short, id(found)] != module.__name__


def _also_here(
    _app: Sphinx, what: str, name: str, found: object, _options: object, lines: list[str]
) -> None:
    """Let a module's page name what it offers and another page describes."""
    if what != "module" or not isinstance(found, ModuleType):
        return
    homes = {each: HOMES[each, id(vars(found)[each])] for each in _names(found)}
    links = [f"`~{home}.{each}`" for each, home in homes.items() if home != name]
    if links:
        lines += ["", f"Can be imported from here too: {', '.join(links)}.", ""]


def _values(
    _app: Sphinx, what: str, name: str, found: object, _options: object, lines: list[str]
) -> None:
    """Describe the values that a module offers and another one made: autodoc sees classes only."""
    if what != "module" or not isinstance(found, ModuleType):
        return
    described = {each for _, each in ModuleAnalyzer.for_module(name).find_attr_docs()}
    for each in _names(found):
        value = vars(found)[each]
        here = HOMES[each, id(value)] == name
        if value is None or not here or each in described or _is_described(value):
            continue
        if type(value).__name__ == "FixtureFunctionDefinition":  # pytest's: autodoc sees a function
            continue
        lines += ["", f".. py:data:: {each}", f"   :type: {type(value).__name__}"]
        if isinstance(value, str | int):
            lines.append(f"   :value: {value!r}")
        lines.append("")


def setup(app: Sphinx) -> None:
    """Hear of each docstring and of each member."""
    app.connect("autodoc-process-docstring", _fences_to_blocks)
    app.connect("autodoc-process-docstring", _also_here)
    app.connect("autodoc-process-docstring", _values)
    app.connect("autodoc-skip-member", _skip)
    app.add_lexer("mermaid", TextLexer)  # GitHub draws such a diagram; the site shows its source
