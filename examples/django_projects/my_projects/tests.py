"""The project's own tests: without a network, without a Procore. Run: python manage.py test."""
# ruff: noqa: PT009  # Django's tests say it so

import os

from django.test import TestCase

from procore_signin.testing import procore_signed_in, settings_for_tests

os.environ.update(settings_for_tests("http://localhost:8000/procore/callback"))


class ProjectsPage(TestCase):
    """The one page that needs somebody."""

    def test_the_projects_of_the_company_are_shown(self) -> None:
        """Whoever has one company need not choose."""
        self.enterContext(
            procore_signed_in(self.client, "ann@example.com", companies={"Acme": ["Mill"]})
        )

        self.assertContains(self.client.get("/projects"), "Mill")

    def test_whoever_has_several_companies_is_asked_for_one(self) -> None:
        """None of them is guessed."""
        self.enterContext(procore_signed_in(self.client, companies=["Acme", "Builders"]))

        page = self.client.get("/projects")

        self.assertEqual(page["location"], "/procore/company?return_to=/projects")

    def test_a_page_says_when_procore_is_down(self) -> None:
        """The sign-in's middleware answers."""
        ann = self.enterContext(procore_signed_in(self.client, companies=["Acme"]))
        ann.emulator.fault("GET /rest/*", "drop-before-commit")

        page = self.client.get("/projects", headers={"accept": "text/html"})

        self.assertEqual(page.status_code, 503)

    def test_nobody_else_is_let_in(self) -> None:
        """A program gets 401, a browser the sign-in page."""
        self.assertEqual(self.client.get("/projects").status_code, 401)
        browser = self.client.get("/projects", headers={"accept": "text/html"})
        self.assertEqual(browser["location"], "/procore/signin?return_to=/projects")
