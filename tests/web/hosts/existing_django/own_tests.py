"""The tests that such a project has: each kind that Django offers, signing people in."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlsplit
from urllib.request import urlopen

from asgiref.sync import sync_to_async
from django.db import connection
from django.test import (
    AsyncClient,
    Client,
    LiveServerTestCase,
    SimpleTestCase,
    TestCase,
    TransactionTestCase,
    override_settings,
)

from procore_signin.emulator import Emulator
from procore_signin.web.django import procore

from .models import Member, Visit

ORIGIN = "http://localhost"
JOE = "joecontractor@procore.com"
OURS = "procore_signin_users"


def count(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return int(cursor.fetchone()[0])


class SignsIn:
    """What tests share: an emulator for each class, and a browser."""

    emulator: ClassVar[Emulator]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()  # type: ignore[misc]  # a mixin
        enter = cls.enterClassContext  # type: ignore[attr-defined]  # as above
        cls.emulator = enter(Emulator.started(redirect_uris=(f"{ORIGIN}/procore/callback",)))
        enter(
            override_settings(
                PROCORE_SIGNIN={
                    "ENVIRONMENT": "emulator",
                    "EMULATOR_URL": cls.emulator.url,
                    "REDIRECT_URI": f"{ORIGIN}/procore/callback",
                    "KEYS": "k1:" + "A" * 43,
                }
            )
        )

    def sign_in(self) -> Client:
        client = Client(headers={"host": "localhost", "accept": "text/html"})
        shown = client.get("/procore/signin").content.decode()
        url = "http" + shown.split('href="http', 1)[1].split('"', 1)[0].replace("&amp;", "&")
        back = urlsplit(self.emulator.approve(url, login=JOE))
        answer = client.get(f"{back.path}?{back.query}")
        assert answer.status_code == 303, answer.content
        return client


class InATransaction(SignsIn, TestCase):
    def test_a_person_signs_in_beside_the_projects_rows(self) -> None:
        Member.objects.create(email="ann@example.com")
        client = self.sign_in()

        assert client.get("/who").json() == JOE
        assert client.get("/companies").status_code == 200
        assert (count(OURS), count("users")) == (1, 2)

    def test_b_nothing_of_that_is_left(self) -> None:
        assert (count(OURS), count("users")) == (0, 0)
        self.sign_in()
        assert count(OURS) == 1

    async def test_an_async_view_sees_the_same(self) -> None:
        client = await sync_to_async(self.sign_in)()
        cookies = "; ".join(f"{name}={each.value}" for name, each in client.cookies.items())
        answer = await AsyncClient().get("/awho", headers={"cookie": cookies})
        assert answer.status_code == 200, answer.content
        assert answer.json() == JOE

    def test_the_look_up_is_no_query_of_the_projects(self) -> None:
        client = self.sign_in()
        savepoint = 2 if connection.settings_dict["ATOMIC_REQUESTS"] else 0  # Django's own
        with self.assertNumQueries(savepoint):
            assert client.get("/who").json() == JOE

    def test_a_token_is_refreshed_within_the_test(self) -> None:
        client = self.sign_in()
        [user] = procore.users()
        procore.fresh_tokens(user, rejected=procore.fresh_tokens(user).generation)

        assert client.get("/companies").status_code == 200


class Committed(SignsIn, TransactionTestCase):
    def test_a_person_signs_in(self) -> None:
        Visit.objects.create(cookie="theirs")
        assert self.sign_in().get("/who").json() == JOE
        assert (count(OURS), count("sessions")) == (1, 1)

    def test_b_nothing_of_that_is_left(self) -> None:
        assert (count(OURS), count("sessions")) == (0, 0)
        self.sign_in()
        assert count(OURS) == 1


class WithoutADatabase(SignsIn, SimpleTestCase):
    def test_a_look_up_is_refused_as_the_projects_own_is(self) -> None:
        with self.assertRaisesRegex(AssertionError, "not allowed"):  # noqa: PT027  # unittest's
            procore.store.probe()


class OnAServer(SignsIn, LiveServerTestCase):
    def test_pages_are_served_on_a_thread_of_their_own(self) -> None:
        with urlopen(f"{self.live_server_url}/who") as answer:  # noqa: S310  # on loopback
            assert answer.read() == b"null"
        assert self.sign_in().get("/who").json() == JOE


class WithoutSettings(TestCase):
    def test_pages_without_sign_in_work(self) -> None:
        client: Any = Client(headers={"host": "localhost"})
        assert client.get("/").content == b"0 members"
