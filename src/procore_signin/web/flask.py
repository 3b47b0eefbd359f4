"""The mapping for Flask: an extension, `current_user` and `@signed_in`.

```python
app = Flask(__name__)
SignIn(app)

@app.get("/projects")
@signed_in
def projects():
    return current_user.email
```
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial, wraps
from os import PathLike
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar, cast
from urllib.parse import urlencode
from uuid import UUID

from procore_signin._extras import extra

with extra("flask"):
    import click
    from flask import (
        Blueprint,
        Flask,
        Request,
        Response,
        current_app,
        has_request_context,
        render_template,
        request,
        session,
    )
    from flask.blueprints import BlueprintSetupState
    from flask.sansio.app import App
    from flask.sessions import NullSession
    from flask.typing import ResponseReturnValue
    from jinja2 import Template
    from markupsafe import Markup
    from werkzeug.exceptions import HTTPException
    from werkzeug.local import LocalProxy

    from procore_signin._client import ProcoreSignIn
    from procore_signin._flow.hooks import Hooks
    from procore_signin._program import run
    from procore_signin._settings import Settings, read_settings, settings_of
    from procore_signin._store.records import Session, User
    from procore_signin._web.embedded.login import SESSION_KEY, Login
    from procore_signin._web.http.asgi_wsgi import connection_of, of_environ
    from procore_signin._web.http.messages import (
        LONGEST_BODY,
        BrowserRequest,
        Framework,
        RawResponse,
    )
    from procore_signin._web.janitor import Janitor
    from procore_signin._web.look.jinja import JinjaTemplates, look_alikes
    from procore_signin._web.options import Options
    from procore_signin._web.settings import completed
    from procore_signin._web.site import (
        NO_STORE,
        ONLY_ONE,
        Site,
        check_place,
        prefix_of,
        vary,
    )
    from procore_signin.errors import ProcoreSignInError, StoreUnavailable
    from procore_signin.web.gevent import GeventProcoreSignIn

__all__ = [
    "Options",
    "SignIn",
    "current_user",
    "flask_login",
    "get_user",
    "procore",
    "sign_in_blueprint",
    "sign_out",
    "signed_in",
]

LOGGER: Final = logging.getLogger("procore_signin")
NAME: Final = "procore_signin"
"""The name of the blueprint, and our key in the application's `extensions`."""

COMMANDS: Final = "procore-signin"
"""The name of our commands below `flask`."""

_OPERATORS: Final = ("db", "doctor", "keys", "purge", "sessions", "users")
"""Commands of `procore-signin` that act on a database."""

_ALL_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_SESSION: Final = "_procore_signin_session"
_FORGETS: Final = "_procore_signin_forgets"
_LOCALIZED: Final = "_procore_signin_localized"

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Installed:
    """The parts of the sign-in in an application; none belongs to one request.

    Attributes:
        procore: The front door.
        site: The pages.
        janitor: Cleans up in the background.
    """

    procore: ProcoreSignIn
    site: Site
    janitor: Janitor


class SignIn:
    """The extension. It makes the front door from the configuration and registers the blueprint.

    The `PROCORE_…` settings come from `app.config`, then the environment, then `.env`. The
    blueprint is registered at the path of the redirect URI.

    Args:
        app: The application, or None to call `init_app` later.
        procore: Your own front door, instead of one from the settings. On gevent, use a
            `web.gevent.GeventProcoreSignIn`.
        hooks: The application's own functions, for a front door made here.
        options: What the application chooses; see `procore_signin.Options`.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        procore: ProcoreSignIn | None = None,
        hooks: Hooks | None = None,
        options: Options | None = None,
    ) -> None:
        self._procore = procore
        self._hooks = hooks
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add the sign-in to `app`.

        Raises:
            SettingsInvalid: Names every setting that is missing or wrong, with its cure.
        """
        procore = self._procore
        if procore is None:
            procore = GeventProcoreSignIn.from_settings(
                read_settings(app.config), hooks=self._hooks or Hooks()
            )
        prefix = prefix_of(procore.context.client.redirect_uri).removeprefix(_root(app))
        blueprint = sign_in_blueprint(procore, self._options)
        if self._procore is None and procore.settings is not None:
            _add_commands(blueprint, procore, procore.settings, app.config)
        app.register_blueprint(blueprint, url_prefix=prefix or None)


def sign_in_blueprint(procore: ProcoreSignIn, options: Options | None = None) -> Blueprint:
    """Return the sign-in's pages as a blueprint, for your own front door.

    Registering it refuses a `url_prefix` that does not match the redirect URI. An application can
    have only one.

    Args:
        procore: The sync front door.
        options: What the application chooses; see `procore_signin.Options`.

    Raises:
        SettingsInvalid: The redirect URI does not end in `/callback`.
        TypeError: The front door is the async one.
        RuntimeError: When it is registered: the application has another one.
    """
    if not isinstance(procore, ProcoreSignIn):
        raise TypeError("Flask needs ProcoreSignIn, not AsyncProcoreSignIn")
    options = completed(procore, options)
    templates = _Templates(options.look.templates)
    site = Site(procore.context, options, templates=templates)
    installed = Installed(procore, site, Janitor(procore))
    blueprint = Blueprint(NAME, __name__, cli_group=COMMANDS)
    upgrade_help = "Make the tables of the sign-in, or bring them up to date."
    blueprint.cli.command("upgrade", help=upgrade_help)(partial(_upgrade, procore))
    procore.store.label.upgrade = f"flask {COMMANDS} upgrade"
    for page in site.pages:
        blueprint.add_url_rule(
            page.below,
            endpoint=page.name,
            view_func=_page(installed, page.path),
            methods=_ALL_METHODS,
            provide_automatic_options=False,
        )

    def install(state: BlueprintSetupState) -> None:
        if NAME in state.app.extensions:
            raise RuntimeError(ONLY_ONE)
        root, redirect_uri = _root(state.app), procore.context.client.redirect_uri
        place = f"{root}{state.url_prefix or ''}/callback"
        check_place(redirect_uri, place, outside="APPLICATION_ROOT", root_path=root)
        site.stand_below(root)
        state.app.extensions[NAME] = installed
        templates.look_in(cast("Flask", state.app))

    blueprint.record_once(install)
    # Before every `before_request`, so that neither extension has to be there first.
    blueprint.url_value_preprocessor(partial(_exempt, blueprint))
    blueprint.after_app_request(_mark_personal)
    for name in site.buttons.by_name:
        blueprint.add_app_template_global(_button(installed, name), name)
    blueprint.app_errorhandler(ProcoreSignInError)(_problem)
    return blueprint


def _exempt(blueprint: Blueprint, _endpoint: str | None, _values: Mapping[str, Any] | None) -> None:
    """Take our pages out of Flask-WTF's `CSRFProtect`: they check the origin (row K8)."""
    guard = current_app.extensions.get("csrf")
    if type(guard).__module__.partition(".")[0] == "flask_wtf":
        guard.exempt(blueprint)  # type: ignore[union-attr]  # as its documentation says


class _Templates:
    """The application's own templates, which its own environment renders.

    Args:
        folder: Another folder that is looked in first, or None.
    """

    def __init__(self, folder: str | PathLike[str] | None) -> None:
        self._folders: Final = () if folder is None else (Path(folder),)
        self._own: JinjaTemplates | None = None

    def look_in(self, app: Flask) -> None:
        """Find the templates of `app`.

        Raises:
            SettingsInvalid: The folder is missing, or a template cannot work.
        """
        folders = self._folders
        if app.template_folder is not None:
            folders = (*folders, Path(app.root_path, app.template_folder))
        self._own = JinjaTemplates(app.jinja_env, self._folders, _fill, more_values=None)
        for told in look_alikes(folders):
            LOGGER.warning(told)

    def render(self, page: str, values: Mapping[str, object], request: Any) -> str | None:
        """See `OwnTemplates.render`."""
        return None if self._own is None else self._own.render(page, values, request)

    def place(self, error: Exception) -> str:
        """See `OwnTemplates.place`."""
        return "" if self._own is None else self._own.place(error)


def _fill(template: Template, values: Mapping[str, object], _request: Any) -> str:
    return render_template(template, **values)


def _button(installed: Installed, name: str) -> Callable[..., Markup]:
    """Return the button for templates, in the language of the request."""

    def button(*label: str, **given: Any) -> Markup:
        site = installed.site
        if not has_request_context():
            return site.buttons.by_name[name](*label, **given)
        request.environ[_LOCALIZED] = True
        return site.buttons_in(site.language_of(_browser_request())).by_name[name](*label, **given)

    return button


def _add_commands(
    blueprint: Blueprint, procore: ProcoreSignIn, settings: Settings, given: Mapping[str, Any]
) -> None:
    """Add the operator's commands, which act on the database that `app.config` names."""
    procore.store.label.program = f"flask {COMMANDS}"
    for name in _OPERATORS:
        blueprint.cli.command(
            name,
            help=f"Run `procore-signin {name}` on this application's database.",
            params=[click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)],
            context_settings={"ignore_unknown_options": True},
            add_help_option=False,
        )(partial(_run, procore, settings, given, name))


def _run(
    procore: ProcoreSignIn,
    settings: Settings,
    given: Mapping[str, Any],
    name: str,
    words: tuple[str, ...],
) -> None:
    label, own = procore.store.label, settings_of(given, settings.address)
    # Making the application has read the settings, and has told what is like one.
    sys.exit(run((name, *words), own, called=label.program, database=label.setting, told=True))


def _upgrade(procore: ProcoreSignIn) -> None:
    try:
        procore.upgrade_tables()
    except StoreUnavailable as error:
        sys.exit(str(error))
    sys.stdout.write(f"The tables of the sign-in are up to date in {procore.store.label}.\n")


def get_user() -> User | None:
    """Return the user of this request, or None. The database is queried once per request.

    Raises:
        StoreUnavailable: Unknown. If unhandled, the response is 503 (row S7).
        RuntimeError: There is no request, or the application has no sign-in.
    """
    installed = _installed()
    # On the request, not in `g`: `g` lives as long as the application context, which an application
    # may have pushed once for all requests (row S8).
    known: tuple[Installed, Session | None] | None = request.environ.get(_SESSION)
    if known is None or known[0] is not installed:
        installed.janitor.start()
        found = installed.procore.run(installed.site.session(_browser_request()))
        known = request.environ[_SESSION] = installed, found
    return None if known[1] is None else known[1].user


def sign_out() -> None:
    """End the sign-in of this browser, in the application's own log-out.

    With `Options(login=…)` it also ends by itself, at the next request, when the user of the
    application is not logged in any more. Without a sign-in nothing happens.

    Raises:
        StoreUnavailable: The session may not have ended; the browser forgets it all the same. If
            unhandled, the response is 503.
        RuntimeError: There is no request, or the application has no sign-in.
    """
    installed = _installed()
    request.environ[_SESSION] = installed, None
    request.environ[_FORGETS] = True
    installed.procore.run(installed.site.sign_out(_browser_request()))


def flask_login(
    load_user: Callable[[str], Any] | None = None,
    *,
    reference: Callable[[Any], str | int | UUID] | None = None,
) -> Login:
    """Return Flask-Login as the application's own login: `Options(login=flask_login())`.

    Its users are called what `get_id()` returns. Logging out of Flask-Login ends the sign-in with
    Procore of that browser, and the reverse; so does a log-in as someone else.

    Args:
        load_user: The application's function below `@login_manager.user_loader`. With it, a user
            who signs in with Procore is logged in to Flask-Login as the one who is connected. If
            that one is gone or not `is_active`, no one is signed in. None: signing in with Procore
            logs no one in.
        reference: Returns what a user is called for good, such as the primary key. Needed where
            `get_id()` returns something that changes, as with Flask-Login's alternative tokens:
            with another text the user would be connected to nothing any more. `load_user` is then
            a function that takes this reference, as text. None: it is `get_id()`.

    Raises:
        ImportError: Flask-Login is not installed.
    """
    with extra("flask-login"):
        from flask_login import (  # noqa: PLC0415  # not every application has it
            current_user,
            login_user,
            logout_user,
            user_logged_in,
            user_logged_out,
        )

    def user(_request: Request) -> str | int | UUID | None:
        if not current_user.is_authenticated:
            return None
        found: str | int | UUID = (
            current_user.get_id() if reference is None else reference(current_user)
        )
        return found

    def log_out(_request: Request, _response: Response) -> None:
        logout_user()

    def log_in(_request: Request, _response: Response, reference: str) -> None:
        found = None if load_user is None else load_user(reference)
        if found is not None:
            login_user(found)

    def is_active(_request: Request, reference: str) -> bool:
        found = None if load_user is None else load_user(reference)
        return found is not None and bool(found.is_active)

    user_logged_out.connect(_end_with_flask_login)
    user_logged_in.connect(_follow_flask_login)
    if load_user is None:
        return Login(user=user, log_out=log_out)
    return Login(user=user, log_out=log_out, log_in=log_in, is_active=is_active)


def _end_with_flask_login(app: Flask, **_: Any) -> None:
    """End the sign-in of this browser. Whatever happens here, Flask-Login's log-out goes on."""
    if not _is_of_a_browser(app):
        return
    session.pop(SESSION_KEY, None)  # Flask-Login goes on with the same session (row L4)
    try:
        sign_out()
    except ProcoreSignInError as error:
        LOGGER.warning("A session was left open when its user logged out: %s", error)


def _follow_flask_login(app: Flask, **_: Any) -> None:
    """Look again who the user of this request is: it may be another user's browser now."""
    if _is_of_a_browser(app):
        session.pop(SESSION_KEY, None)  # as above
        request.environ.pop(_SESSION, None)


def _is_of_a_browser(app: Flask) -> bool:
    return has_request_context() and NAME in app.extensions


def signed_in(
    view: Callable[P, ResponseReturnValue | Awaitable[ResponseReturnValue]],
) -> Callable[P, ResponseReturnValue]:
    """Admit only signed-in users. Put it below `@app.get(…)`, above the view, sync or async.

    A browser is redirected to the sign-in page and then back; a program gets 401.
    """

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        if get_user() is None:
            asked = _browser_request()
            site = _installed().site
            return _response(site.raw_response(asked, site.not_signed_in(asked)))
        shown: ResponseReturnValue = current_app.ensure_sync(view)(*args, **kwargs)
        return shown

    return guarded


# Looked up by name each time, so that a test can replace it.
current_user: User = LocalProxy(lambda: get_user())  # type: ignore[assignment]  # noqa: PLW0108  # as above
"""The signed-in user; use it below `@signed_in`. Elsewhere it may be a proxy for None: then it is
false, but not `None` itself; `get_user()` returns a plain value."""

procore: ProcoreSignIn = LocalProxy(lambda: _installed().procore)  # type: ignore[assignment]  # as above
"""The front door of the current application, as in `procore.api(current_user.id)`."""


def _page(installed: Installed, path: str) -> Callable[[], Response]:
    """Return the view of the page at `path`."""
    site = installed.site

    def view() -> Response:
        installed.janitor.start()
        asked = _browser_request(path)
        try:
            raw = site.raw_response(asked, installed.procore.run(site.router.respond(asked)))
        except Exception:  # the last resort (row O3): a page for the user, a traceback for us
            LOGGER.exception("Request %s failed", asked.request_id)
            raw = site.failure(asked)
        return _response(raw)

    return view


def _problem(error: ProcoreSignInError) -> Response:
    """Return the response to an error of ours in a view of the application."""
    site, asked = _installed().site, _browser_request()
    return _response(site.raw_response(asked, site.problem(asked, error)))


def _mark_personal(response: Response) -> Response:
    """Keep responses that depend on the signed-in user out of every cache (row K7)."""
    if _SESSION in request.environ:
        response.headers["Vary"] = vary(", ".join(response.headers.getlist("Vary")))
        # An application that says how long its responses may be kept knows why.
        response.headers.setdefault("Cache-Control", NO_STORE)
    if _LOCALIZED in request.environ and _installed().site.languages.is_negotiated:
        response.vary.add("Accept-Language")
    if request.environ.get(_FORGETS):
        forget = _installed().site.forget_session
        name = f"{forget.partition('=')[0]}="
        # unless a page of ours has just opened a new one
        if not any(each.startswith(name) for each in response.headers.getlist("Set-Cookie")):
            response.headers.add("Set-Cookie", forget)
    return response


def _installed() -> Installed:
    installed = current_app.extensions.get(NAME)
    if not isinstance(installed, Installed):
        raise RuntimeError("This application has no sign-in: call SignIn(app) or init_app(app)")  # noqa: TRY004  # the application is wrong, not a value
    return installed


def _browser_request(path: str | None = None) -> BrowserRequest:
    """Return the request as received; `path` is that of a page of ours."""
    root = request.root_path.rstrip("/") or _installed().site.root_path
    place = path or f"{root}{request.path}"
    return of_environ(
        request.environ,
        path=place,
        read_body=_body,
        trusted=_installed().site.trusted,
        framework=_framework,
        native=_native,
    )


def _framework() -> Framework:
    """Return the request as Flask sees it, for functions of the application."""
    return Framework(
        _native(),
        current_app.response_class,
        lambda response: response.headers.getlist("Set-Cookie"),
        lambda: None if isinstance(session, NullSession) else session,
        is_strict=str(current_app.config["SESSION_COOKIE_SAMESITE"]).lower() == "strict",
    )


def _native() -> Request:
    return request._get_current_object()  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001  # as Werkzeug's documentation says


def _body(asked: BrowserRequest) -> bytes:
    """Return the body of `asked`, also where the application has read it before us."""
    if "form" in request.__dict__ and not request.is_json:
        return urlencode(list(request.form.items(multi=True))).encode()
    if hasattr(request, "_cached_data"):  # what `get_json()` and `get_data()` leave
        return request.get_data()
    return _installed().site.bodies.read(_stream, asked, connection_of(request.environ))


def _stream() -> bytes:
    try:
        return request.stream.read(LONGEST_BODY + 1)
    except HTTPException as error:  # Werkzeug's error for a client that goes away
        raise ConnectionError from error


def _response(raw: RawResponse) -> Response:
    response = Response(raw.body, raw.status)
    response.headers.clear()
    response.headers.extend(raw.text_headers)
    return response


def _root(app: App) -> str:
    """Return the path under which a proxy or another application mounts this one."""
    return str(app.config["APPLICATION_ROOT"]).rstrip("/")


def __dir__() -> list[str]:
    """Show the public names (PEP 562)."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
