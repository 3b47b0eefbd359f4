"""Our templates in Jinja2, and those of an application in front of them.

Our files are written in what Jinja2 and Django's templates have in common, because Django's own
loaders read them too. The tag `procore_text` and the filters are the same in both.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, get_args

from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    PrefixLoader,
    StrictUndefined,
    Template,
    TemplateNotFound,
    TemplateSyntaxError,
    meta,
    nodes,
    pass_context,
)
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from markupsafe import Markup

from procore_signin._web.look.languages import Language, spoken
from procore_signin._web.look.po import PLACEHOLDER
from procore_signin._web.look.values import COMMON, PAGES, PageName
from procore_signin._web.look.words import FILTERS
from procore_signin.errors import Problem, SettingsInvalid

FOLDER: Final = "procore_signin"
BASE: Final = "base"
SHIPPED: Final = PackageLoader("procore_signin", "web/django/templates")
"""Our templates. They are where Django looks for those of an app, because it looks nowhere else."""

NAMES: Final[tuple[str, ...]] = (BASE, *get_args(PageName))
_OPTION: Final = "Look(templates=…)"
_SIMILAR: Final = 0.8


def file_name(page: str) -> str:
    """Return the name of the template of a page, the same in every framework."""
    return f"{FOLDER}/{page}.html"


class Tags(Extension):
    """The tag `procore_text`, and `load`, which Django needs and Jinja2 passes over."""

    tags = {"procore_text", "load"}  # noqa: RUF012  # as the class above has it

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """Parse `{% procore_text "A text with a %(name)s" name=value %}`."""
        tag = next(parser.stream)
        if tag.value == "load":
            while parser.stream.current.type != "block_end":
                next(parser.stream)
            return []
        # Only a text that stands here: there are not many of them, and they can be kept.
        text = parser.stream.expect("string").value
        values = {}
        while parser.stream.current.type != "block_end":
            name = parser.stream.expect("name").value
            parser.stream.expect("assign")
            values[name] = parser.parse_expression()
        if isinstance(self.environment, InOneLanguage):
            said = _pieces(str(self.environment.language.html(text)), values)
        else:
            named = [nodes.Keyword(name, value) for name, value in values.items()]
            said = [nodes.Filter(nodes.Const(text), _SAY, [], named, None, None)]
        return nodes.Output(said, lineno=tag.lineno)


def _pieces(html: str, values: Mapping[str, nodes.Expr]) -> list[nodes.Expr]:
    """Return a text as what stands in it and the values between, which Jinja2 escapes."""
    pieces: list[nodes.Expr] = []
    for number, part in enumerate(PLACEHOLDER.split(html)):
        pieces.append(values[part] if number % 2 else nodes.TemplateData(part))
    return pieces


class InOneLanguage(Environment):
    """Templates whose texts, and what is the same on each page, are put in when they are compiled.

    Such a text and what stands beside it then become one piece: a page is put together from a third
    of the pieces.

    Attributes:
        language: The language.
        same: HTML by the name of the value that it stands for. A name with a dot is an attribute's.
    """

    language: Language
    same: Mapping[str, str]

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for node in (tree, *tree.find_all((nodes.Block, nodes.If, nodes.For))):
            for field in {"body", "else_"} & set(node.fields):
                setattr(node, field, _joined(getattr(node, field)))
        for output in tree.find_all(nodes.Output):
            output.nodes = [self._put_in(each) for each in output.nodes]
        return tree

    def _put_in(self, node: nodes.Expr) -> nodes.Expr:
        named = ""
        if isinstance(node, nodes.Name):
            named = node.name
        elif isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name):
            named = f"{node.node.name}.{node.attr}"
        return nodes.TemplateData(self.same[named]) if named in self.same else node


def _joined(body: list[nodes.Node]) -> list[nodes.Node]:
    joined: list[nodes.Node] = []
    for node in body:
        last = joined[-1] if joined else None
        if isinstance(node, nodes.Output) and isinstance(last, nodes.Output):
            last.nodes.extend(node.nodes)
        else:
            joined.append(node)
    return joined


_SAY: Final = "procore_text_of_a_tag"


@pass_context  # so that Jinja2 does not work it out once, in whatever language is spoken then
def _say(_context: Context, text: str, **values: object) -> Markup:
    return spoken().html(text, **values)


def _when_rendered(words: Callable[[Any], str]) -> Callable[[Context, Any], str]:
    @pass_context  # as above
    def rendered(_context: Context, value: Any) -> str:
        return words(value)

    return rendered


JINJA_FILTERS: Final[dict[str, Callable[..., Any]]] = {
    _SAY: _say,
    **{name: _when_rendered(words) for name, words in FILTERS.items()},
}
"""What templates in Jinja2 need beside `Tags`."""


class OwnTemplates(Protocol):
    """The application's own templates, as its framework renders them."""

    def render(self, page: str, values: Mapping[str, object], request: Any) -> str | None:
        """Return a page as HTML, or None if the application has no template for it.

        Args:
            page: Its name.
            values: Its values.
            request: The framework's request.

        Raises:
            Exception: Whatever the template does.
        """

    def place(self, error: Exception) -> str:
        """Return the file and line of the template in which `error` was raised."""


Fill = Callable[[Template, Mapping[str, object], Any], str]
"""Renders a template with a page's values, and the framework's request."""


class JinjaTemplates:
    """Templates of the application's that Jinja2 renders, in front of ours.

    Names and values are escaped whatever the application's environment says (row I6).

    Args:
        environment: The application's, or None to read `folders` alone. It is not changed, but for
            our filters. Its own treatment of undefined names stays; without one they are errors.
        folders: Where else to look, first.
        fill: Renders a template.
        more_values: The names of values that `fill` adds; None if they are not known.

    Raises:
        SettingsInvalid: A folder is missing, or a template cannot work. The message names the file.
    """

    def __init__(
        self,
        environment: Environment | None,
        folders: Sequence[Path],
        fill: Fill,
        *,
        more_values: Iterable[str] | None,
    ) -> None:
        for folder in folders:
            if not folder.is_dir():
                raise _invalid(f"names a folder that is not there: {folder.absolute()}")
        loaders: list[BaseLoader] = [FileSystemLoader(folder) for folder in folders]
        if environment is None:
            environment = Environment(undefined=StrictUndefined)  # noqa: S701  # the overlay escapes
        elif environment.loader is not None:
            loaders.append(environment.loader)
        environment.filters.update(JINJA_FILTERS)
        front = ChoiceLoader(loaders)
        self._environment: Final = environment.overlay(
            loader=ChoiceLoader([front, SHIPPED, PrefixLoader({"shipped": SHIPPED})]),
            autoescape=True,
            enable_async=False,
            extensions=[Tags],
        )
        self._fill: Final = fill
        known = None if more_values is None else {*more_values, *self._environment.globals}
        self._own: Final = {name for name in NAMES if self._is_theirs(front, name, known)}

    def render(self, page: str, values: Mapping[str, object], request: Any) -> str | None:
        """Return a page as HTML, or None if neither the page nor the base is the application's."""
        if not self._own & {page, BASE}:
            return None
        template = self._environment.get_template(file_name(page))
        return self._fill(template, values, request)

    def place(self, error: Exception) -> str:
        """See `OwnTemplates.place`."""
        return _place(error)

    def _is_theirs(self, front: BaseLoader, page: str, known: set[str] | None) -> bool:
        """See `_check`."""
        try:
            return self._check(front, page, known)
        except UnicodeDecodeError as error:
            raise _invalid(f"cannot be used: {_place(error)} is not UTF-8") from error

    def _check(self, front: BaseLoader, page: str, known: set[str] | None) -> bool:
        """Return whether the application has a template for `page`, which is then looked through.

        Raises:
            SettingsInvalid: It cannot be parsed, refers to a file that is not there, or to a name
                that the page does not have.
        """
        try:
            source, path, _ = front.get_source(self._environment, file_name(page))
        except TemplateNotFound:
            return False
        place = path or file_name(page)
        try:
            tree = self._environment.parse(source, file_name(page), path)
            for name in meta.find_referenced_templates(tree):
                if name is not None:
                    self._environment.get_template(name)
            self._environment.get_template(file_name(page))
        except TemplateSyntaxError as error:
            file = error.filename or place
            raise _invalid(f"cannot be used: {file}, line {error.lineno}: {error}") from error
        except TemplateNotFound as error:
            raise _invalid(
                f"cannot be used: {place} refers to {error}, which is in none of the folders"
            ) from error
        unknown = sorted(_unknown(tree, page, known)) if known is not None else ()
        if unknown:
            raise _invalid(f"cannot be used: {place} has unknown names: {', '.join(unknown)}")
        return True


def _unknown(tree: nodes.Template, page: str, known: set[str]) -> set[str]:
    of_pages = PAGES.values() if page == BASE else [PAGES[page]]
    values = {value.name for each in of_pages for value in each.values}
    return meta.find_undeclared_variables(tree) - known - values - {value.name for value in COMMON}


def look_alikes(folders: Iterable[Path]) -> list[str]:
    """Return what looks like a page's template, but for its name, with the right name."""
    told = []
    for folder in folders:
        for path in sorted(folder.joinpath(FOLDER).glob("*.html")):
            meant = difflib.get_close_matches(path.stem, NAMES, 1, _SIMILAR)
            if meant and path.stem not in NAMES:
                told.append(f"{path} is no page's template. Is it meant to be {meant[0]}.html?")
    return told


def _invalid(what: str) -> SettingsInvalid:
    cure = (
        "Correct it. docs/reference/pages.md has each page's file and values, and "
        f"{{% extends {file_name(BASE)!r} %}} takes our frame."
    )
    return SettingsInvalid((Problem(_OPTION, what, cure),))


def _place(error: Exception) -> str:
    if isinstance(error, TemplateSyntaxError):
        return f"{error.filename or error.name}, line {error.lineno}"
    found, trace = "the application's template", error.__traceback__
    while trace is not None:
        if isinstance(error, UnicodeDecodeError):  # which names no file, but Jinja2's loader does
            found = str(trace.tb_frame.f_locals.get("filename", found))
        name = trace.tb_frame.f_code.co_filename
        if not name.endswith(".py") and not name.startswith("<"):
            found = f"{name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return found
