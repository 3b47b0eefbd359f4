"""The OpenAPI documents: they tell what there is, and what they allow and forbid is answered.

Schemathesis makes requests from them, good and bad ones, and sends them over a real socket.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case, CheckContext, CheckFunction, Response, checks
from schemathesis.checks import load_all_checks
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.pytest.lazy import get_all_tests
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi import checks as openapi_checks

from procore_signin._emulator.faults.kinds import KINDS
from procore_signin._emulator.openapi import control_document, procore_document
from procore_signin._emulator.rest.api import _ROUTES
from procore_signin._emulator.world.clock import FURTHEST
from procore_signin._emulator.world.people import DEMO_PASSWORD, MAX_ID
from procore_signin._emulator.world.seed import DEMO_LOGIN
from procore_signin.emulator import Emulator, EmulatorApp, LocalProcore

ORIGIN = "http://127.0.0.1:4568"
CLIENT = {"client_id": "emulator-client-id"}
FEW = settings(
    max_examples=5,
    database=None,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
# Whether someone or something exists is no matter of a schema: such a refusal is a 400 too.
NEEDS_KNOWLEDGE: list[CheckFunction] = [openapi_checks.positive_data_acceptance]
# Generation 4 answers with 200 whatever is wrong, and a route that Rails does not know with 404.
AS_PROCORE_DOES: list[CheckFunction] = [
    *NEEDS_KNOWLEDGE,
    openapi_checks.negative_data_rejection,
    openapi_checks.unsupported_method,
]


@pytest.fixture(scope="module", params=[4, 5])
def fuzzed(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    with Emulator.started(doorkeeper=request.param) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def controlled() -> Iterator[Emulator]:
    with Emulator.started() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def called() -> Iterator[Emulator]:
    """An emulator to which no fault was added: of the controlled one no one knows what it does."""
    with Emulator.started() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def token(called: Emulator) -> str:
    """A good access token of a person."""
    asked = {**CLIENT, "response_type": "code", "redirect_uri": called.options.redirect_uris[0]}
    location = called.approve(f"/oauth/authorize?{urlencode(asked)}")
    form = {
        "grant_type": "authorization_code",
        **CLIENT,
        "client_secret": "emulator-client-secret",
        "code": parse_qs(urlsplit(location).query)["code"][0],
        "redirect_uri": asked["redirect_uri"],
    }
    answered = httpx2.post(f"{called.url}/oauth/token", data=form, trust_env=False)
    token: str = answered.json()["access_token"]
    return token


@pytest.fixture(scope="module")
def control() -> BaseSchema:
    return schemathesis.openapi.from_dict(control_document(ORIGIN))


@pytest.fixture(scope="module")
def procore() -> BaseSchema:
    return schemathesis.openapi.from_dict(procore_document(ORIGIN))


def refused(schema: BaseSchema, check: Callable[[Case[Any]], object]) -> dict[str, str]:
    """Check requests of every operation; return what was wrong with each that fails.

    `schema.parametrize()` makes the same tests, but while they are collected, which takes seconds
    in each process of a run.
    """

    load_all_checks()
    made = list(get_all_tests(schema=schema, test_func=check, settings=FEW, given_kwargs={}))
    assert made
    found = {}
    for each in made:
        assert isinstance(each, Ok)  # else the document itself is wrong
        operation, test = each.ok()
        try:
            test()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is told with the others
            found[operation.label] = "".join(traceback.format_exception(error))
    return found


def test_the_control_api_answers_everything_as_its_document_says(
    control: BaseSchema, controlled: Emulator
) -> None:
    def check(case: Case[Any]) -> None:
        case.call_and_validate(base_url=controlled.url, excluded_checks=NEEDS_KNOWLEDGE)

    assert refused(control, check) == {}


def test_procore_answers_everything_as_its_document_says(
    procore: BaseSchema, fuzzed: Emulator
) -> None:
    def check(case: Case[Any]) -> None:
        case.call_and_validate(base_url=fuzzed.url, excluded_checks=AS_PROCORE_DOES)

    assert refused(procore.exclude(path_regex="^/rest/"), check) == {}


def test_the_api_answers_whoever_has_no_good_token_as_its_document_says(
    procore: BaseSchema, called: Emulator
) -> None:
    def check(case: Case[Any]) -> None:
        case.call_and_validate(base_url=called.url, excluded_checks=AS_PROCORE_DOES)

    assert refused(procore.include(path_regex="^/rest/"), check) == {}


def test_the_api_answers_whoever_has_a_good_token_as_its_document_says(
    procore: BaseSchema, called: Emulator, token: str
) -> None:
    def check(case: Case[Any]) -> None:
        case.call_and_validate(
            base_url=called.url,
            headers={"authorization": f"Bearer {token}"},
            excluded_checks=[
                *NEEDS_KNOWLEDGE,
                openapi_checks.ignored_auth,
                openapi_checks.negative_data_rejection,
                openapi_checks.unsupported_method,
                checks.not_a_server_error,
            ],
            additional_checks=[fails_never_but_says_what_is_not_served],
        )

    assert refused(procore.include(path_regex="^/rest/"), check) == {}


def fails_never_but_says_what_is_not_served(
    ctx: CheckContext, response: Response, case: Case[Any]
) -> bool | None:
    """501 is the response to a method that the document does not name, and to no other."""
    if response.status_code == 501 and response.request.method != "GET":
        return None
    return checks.not_a_server_error(ctx, response, case)


def test_a_fault_that_answers_5xx_is_what_schemathesis_would_find(
    emulator: Emulator, procore: BaseSchema
) -> None:
    """The check above can fail: here it does, because a 5xx was asked for."""
    emulator.fault("/rest/*", "status", status=503, times=None)
    case = procore["/rest/v1.0/me"]["GET"].Case()
    with pytest.raises(FailureGroup) as found:
        case.call_and_validate(base_url=emulator.url, checks=[checks.not_a_server_error])
    assert ["Server error"] == [str(failure) for failure in found.value.exceptions]


def test_each_operation_that_is_wrong_is_named(procore: BaseSchema) -> None:
    def check(case: Case[Any]) -> None:
        assert case.path != "/rest/v1.0/me"

    found = refused(procore.include(path_regex="^/rest/"), check)
    assert {name.split()[1] for name in found} == {"/rest/v1.0/me"}
    assert all("AssertionError" in text for text in found.values())


def operations(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }


def test_the_control_document_names_every_control_and_no_other() -> None:
    app = EmulatorApp(LocalProcore())
    answered = {(method, f"/_emulator/{name}") for method, name in app._control._routes}
    documents = {route for route in answered if "openapi" in route[1]}
    assert 2 == len(documents)
    assert answered - documents == operations(control_document(ORIGIN))


def test_the_document_of_procore_names_every_route_and_no_other() -> None:
    documented = operations(procore_document(ORIGIN))
    procore = LocalProcore()
    shown = ("GET", "/oauth/authorize/{code}")
    assert procore.provider._routes.keys() | {shown} == {
        route for route in documented if not route[1].startswith("/rest/")
    }
    calls = {path.replace("{id}", "8089") for _, path in documented if path.startswith("/rest/")}
    for pattern, _ in _ROUTES:
        assert any(pattern.fullmatch(path) for path in calls)
    for path in calls:
        assert any(pattern.fullmatch(path) for pattern, _ in _ROUTES)


def sent(document: dict[str, Any], path: str, content_type: str) -> dict[str, Any]:
    """Return the schemas of what is sent in the body, by name."""
    content = document["paths"][path]["post"]["requestBody"]["content"]
    schemas: dict[str, Any] = content[content_type]["schema"]["properties"]
    return schemas


def test_the_control_document_has_the_kinds_and_limits_of_the_code() -> None:
    control = control_document(ORIGIN)
    assert sorted(KINDS) == sent(control, "/_emulator/faults", "application/json")["kind"]["enum"]
    advance = sent(control, "/_emulator/clock", "application/json")["advance"]
    assert (0, FURTHEST) == (advance["minimum"], advance["maximum"])


def test_the_document_of_procore_has_the_person_that_is_there_at_the_start() -> None:
    form = "application/x-www-form-urlencoded"
    login = sent(procore_document(ORIGIN), "/login", form)
    assert [DEMO_LOGIN] == login["login"]["examples"]
    assert [DEMO_PASSWORD] == login["password"]["examples"]


@pytest.mark.parametrize("document", [control_document(ORIGIN), procore_document(ORIGIN)])
def test_ids_of_both_documents_end_where_the_code_ends_them(document: dict[str, Any]) -> None:
    ids = [part for part in parts(document) if part.get("format") == "int64"]
    assert {(1, MAX_ID)} == {(one["minimum"], one["maximum"]) for one in ids}


def test_a_document_is_read_once_and_each_emulator_has_its_own_address_in_it() -> None:
    here, there = procore_document("http://127.0.0.1:1"), procore_document("http://127.0.0.1:2")
    assert here["paths"] is there["paths"]
    assert ["http://127.0.0.1:1", "http://127.0.0.1:2"] == [
        one["servers"][0]["url"] for one in (here, there)
    ]


def parts(part: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a document, at any depth."""
    if isinstance(part, dict):
        yield part
        for inner in part.values():
            yield from parts(inner)
    if isinstance(part, list):
        for inner in part:
            yield from parts(inner)


@pytest.mark.parametrize("document", [control_document(ORIGIN), procore_document(ORIGIN)])
def test_every_reference_leads_somewhere_and_every_schema_is_used(
    document: dict[str, Any],
) -> None:
    references = [part["$ref"] for part in parts(document) if "$ref" in part]
    used = {one.removeprefix("#/components/schemas/") for one in references}
    assert document["components"]["schemas"].keys() == used


def test_both_documents_are_served_with_the_emulators_own_address(
    emulator: Emulator, http: httpx2.Client
) -> None:
    for name, make in (
        ("openapi.json", control_document),
        ("openapi-procore.json", procore_document),
    ):
        answered = http.get(f"/_emulator/{name}")
        assert make(emulator.url) == answered.json()
        assert f"/_emulator/{name}" in http.get("/").text


def test_the_examples_of_the_document_work(
    emulator: Emulator,
    http: httpx2.Client,
    sign_in: Callable[..., dict[str, Any]],
    bearer: Callable[[dict[str, Any]], dict[str, str]],
) -> None:
    headers = bearer(sign_in(emulator, http))
    for path, methods in procore_document(emulator.url)["paths"].items():
        for method, operation in methods.items():
            sent: dict[str, dict[str, str]] = {"query": {}, "header": {}, "path": {}}
            for parameter in operation.get("parameters", ()):
                for value in parameter["schema"].get("examples", ()):
                    sent[parameter["in"]][parameter["name"]] = str(value)
            if path.startswith("/rest/") and method == "get":
                answered = http.get(
                    path.format(**sent["path"]),
                    params=sent["query"],
                    headers={**headers, **sent["header"]},
                )
                assert 200 == answered.status_code, path


def test_a_control_is_asked_by_its_methods_only(http: httpx2.Client) -> None:
    answered = http.delete("/_emulator/people")
    assert (405, "GET, POST") == (answered.status_code, answered.headers["allow"])
    assert ["error"] == list(answered.json())
