"""A user of the project connects an account, logs out, and signs in with it. A script.

It prints where it sends the browser, and reads where Procore sends it back to.
"""

from __future__ import annotations

import sys
from urllib.parse import urlencode, urlsplit

import django
from django.conf import settings

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402  # once Django is set up
from django.http import HttpResponse  # noqa: E402
from django.test import Client  # noqa: E402

from procore_signin.web.django import procore  # noqa: E402

HOST = "localhost:8000"
FORM = "application/x-www-form-urlencoded"


def browser() -> Client:
    return Client(headers={"host": HOST, "accept": "text/html", "origin": f"http://{HOST}"})


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def press(person: Client, **form: str) -> None:
    """Press a button of the project's own page, and come back from Procore."""
    fields = urlencode({"return_to": "/whose", **form})
    say(person.post("/procore/start", fields, FORM)["Location"])
    back = urlsplit(sys.stdin.readline().strip())
    landed: HttpResponse = person.get(f"{back.path}?{back.query}")
    assert (landed.status_code, landed.headers["Location"]) == (303, "/whose")


ann = get_user_model().objects.create_user("ann@example.com", password="fake-password")
person = browser()
assert person.login(username="ann@example.com", password="fake-password")
press(person, connect="yes")
user = procore.user_of(ann.pk)
assert user is not None
assert person.get("/whose").content == b"ann@example.com joecontractor@procore.com"
with procore.api(user) as api:
    assert api.get("/rest/v1.0/companies").status_code == 200
person.post("/log-out", "", FORM)
assert person.get("/whose").content == b"None None"

another = browser()
press(another)
assert another.get("/whose").content == b"ann@example.com joecontractor@procore.com"
assert [found.id for found in procore.users()] == [user.id]
another.post("/procore/sign-out", "", FORM)
assert another.get("/whose").content == b"None None", "one log-out ends both"
ended = procore.disconnect(user)
assert ended is not None
assert ended.certain
assert procore.user_of(ann.pk) is None, "and the connection with it"
procore.close()
say(f"done with {settings.DATABASES['default']['ENGINE']}")
