import pytest
from neutral import Browser, header, page_of, router_of, title
from scripted import Clock, ScriptedProcore, reply

from procore_signin._client import ProcoreSignIn
from procore_signin._store.users import UserOf
from procore_signin._web import problems
from procore_signin.errors import ProcoreUnavailable

OURS = {"id": 42, "name": "Ours", "is_active": True}
THEIRS = {"id": 7, "name": "<b>Theirs</b>", "is_active": True}
CLOSED = {"id": 8, "name": "Closed", "is_active": False}


@pytest.fixture
def asked(door: ProcoreSignIn, clock: Clock) -> Browser:
    """Return a browser at an application that asks for a company."""
    return Browser(door, router_of(door, clock, choose_company=True))


def company_of(door: ProcoreSignIn) -> int | None:
    user = door.store.ask(UserOf(1))
    assert user is not None
    return user.company_id


def list_companies(procore: ScriptedProcore, *companies: object) -> None:
    procore.next("/rest/v1.0/companies", *[reply(200, list(companies)) for _ in range(5)])


def test_with_several_companies_the_person_chooses_and_goes_on(
    asked: Browser, procore: ScriptedProcore, door: ProcoreSignIn
) -> None:
    list_companies(procore, THEIRS, OURS, CLOSED)
    landed = header(asked.sign_in("/signin?return_to=/sessions"), "location") or ""
    assert landed == "/company?return_to=/sessions"
    page = page_of(asked.get(landed))
    companies = page.values["companies"]
    assert isinstance(companies, tuple)
    assert [company.id for company in companies] == [7, 42]
    assert company_of(door) is None
    answer = asked.post("/company", form={"company_id": "42", "return_to": "/sessions"})
    assert header(answer, "location") == "/sessions"
    assert company_of(door) == 42


def test_a_choice_is_remembered_at_the_next_sign_in(
    asked: Browser, procore: ScriptedProcore, door: ProcoreSignIn
) -> None:
    list_companies(procore, THEIRS, OURS)
    asked.sign_in()
    asked.post("/company", form={"company_id": "42"})
    assert header(asked.sign_in(), "location") == "/home"
    assert company_of(door) == 42


def test_one_company_is_taken_without_a_question(
    asked: Browser, procore: ScriptedProcore, door: ProcoreSignIn
) -> None:
    list_companies(procore, OURS, CLOSED)
    landed = header(asked.sign_in(), "location") or ""
    assert header(asked.get(landed), "location") == "/home"
    assert company_of(door) == 42


def test_who_belongs_to_no_company_is_told_so(asked: Browser, procore: ScriptedProcore) -> None:
    list_companies(procore)
    landed = header(asked.sign_in(), "location") or ""
    assert page_of(asked.get(landed)).values["companies"] == ()


@pytest.mark.parametrize("company_id", ["7", "", "0", "42x", "１", "1\r\nX: y", "9" * 30])
def test_P4_a_company_that_is_not_the_persons_cannot_be_chosen(
    asked: Browser, procore: ScriptedProcore, door: ProcoreSignIn, company_id: str
) -> None:
    list_companies(procore, OURS)
    asked.sign_in()
    answer = asked.post("/company", form={"company_id": company_id})
    assert title(answer) == problems.NOT_YOUR_COMPANY.title
    assert company_of(door) is None


def test_A8_a_choice_does_not_lead_elsewhere(asked: Browser, procore: ScriptedProcore) -> None:
    list_companies(procore, THEIRS, OURS)
    asked.sign_in()
    form = {"company_id": "42", "return_to": "//evil.example"}
    assert header(asked.post("/company", form=form), "location") == "/home"


def test_who_is_not_signed_in_chooses_nothing(asked: Browser) -> None:
    assert header(asked.get("/company"), "location") == "/signin?return_to=/company"
    assert header(asked.post("/company", form={"company_id": "42"}), "location") is not None


def test_when_procore_does_not_answer_the_person_stays_signed_in(
    asked: Browser, procore: ScriptedProcore
) -> None:
    landed = header(asked.sign_in(), "location") or ""
    procore.next("/rest/v1.0/companies", ProcoreUnavailable("down", ambiguous=False))
    assert title(asked.get(landed)) == problems.COMPANIES_UNAVAILABLE.title
    assert asked.get("/home").status == 200


def test_a_lost_grant_leads_to_a_new_sign_in_and_back(
    asked: Browser, procore: ScriptedProcore, clock: Clock
) -> None:
    asked.sign_in()
    clock.advance(5400)
    procore.next("/oauth/token", reply(400, {"error": "invalid_grant"}))
    assert title(asked.get("/company")) == problems.GRANT_LOST.title
