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
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Final, ParamSpec, TypeVar
from urllib.parse import urlencode

from flask import Blueprint, Flask, Response, current_app, request
from flask.blueprints import BlueprintSetupState
from flask.sansio.app import App
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException
from werkzeug.local import LocalProxy

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.hooks import Hooks
from procore_signin._settings import read_settings
from procore_signin._store.records import Session, User
from procore_signin._web.http.asgi_wsgi import connection_of, of_environ
from procore_signin._web.http.messages import LONGEST_BODY, BrowserRequest
from procore_signin._web.janitor import Janitor
from procore_signin._web.options import Options
from procore_signin._web.settings import completed
from procore_signin._web.site import NO_STORE, RawResponse, Site, check_place, prefix_of, vary
from procore_signin.errors import ProcoreSignInError
from procore_signin.web.gevent import GeventProcoreSignIn

__all__ = [
    "Options",
    "SignIn",
    "current_user",
    "get_user",
    "procore",
    "sign_in_blueprint",
    "signed_in",
]

LOGGER: Final = logging.getLogger("procore_signin")
NAME: Final = "procore_signin"
"""The name of the blueprint, and our key in the application's `extensions`."""

_ALL_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_SESSION: Final = "_procore_signin_session"

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
        app.register_blueprint(sign_in_blueprint(procore, self._options), url_prefix=prefix or None)


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
    """
    if not isinstance(procore, ProcoreSignIn):
        raise TypeError("Flask needs ProcoreSignIn, not AsyncProcoreSignIn")
    site = Site(procore.context, completed(procore, options))
    installed = Installed(procore, site, Janitor(procore))
    blueprint = Blueprint(NAME, __name__)
    for below, path in site.pages.items():
        blueprint.add_url_rule(
            below,
            endpoint=below.strip("/").replace("/", "_").replace(".", "_"),
            view_func=_page(installed, path),
            methods=_ALL_METHODS,
            provide_automatic_options=False,
        )

    def install(state: BlueprintSetupState) -> None:
        place = f"{_root(state.app)}{state.url_prefix or ''}/callback"
        check_place(procore.context.client.redirect_uri, place, outside="APPLICATION_ROOT")
        state.app.extensions[NAME] = installed

    blueprint.record_once(install)
    blueprint.after_app_request(_mark_personal)
    blueprint.app_errorhandler(ProcoreSignInError)(_problem)
    return blueprint


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
        session = installed.procore.run(installed.site.session(_browser_request()))
        known = request.environ[_SESSION] = installed, session
    return None if known[1] is None else known[1].user


def signed_in(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
    """Admit only signed-in users. Put it below `@app.get(…)`, above the view.

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
    return response


def _installed() -> Installed:
    installed = current_app.extensions.get(NAME)
    if not isinstance(installed, Installed):
        raise RuntimeError("This application has no sign-in: call SignIn(app) or init_app(app)")  # noqa: TRY004  # the application is wrong, not a value
    return installed


def _browser_request(path: str | None = None) -> BrowserRequest:
    """Return the request as received; `path` is that of a page of ours."""
    place = path or f"{request.root_path.rstrip('/')}{request.path}"
    return of_environ(
        request.environ, path=place, read_body=_form, trusted=_installed().site.trusted
    )


def _form(asked: BrowserRequest) -> bytes:
    """Return the form in the body of `asked`."""
    if "form" in request.__dict__:  # the application has read the form before us
        return urlencode(list(request.form.items(multi=True))).encode()
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
