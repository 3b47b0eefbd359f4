"""The project's own tests. They pass before and after, as they are."""

from django.contrib.auth import get_user_model
from django.test import TestCase

from .models import Session

EMAIL, PASSWORD = "ann@example.com", "fake-password"


class Pages(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.ann = get_user_model().objects.create_user(EMAIL, PASSWORD)
        cls.boss = get_user_model().objects.create_superuser("boss@example.com", PASSWORD)

    def test_a_user_logs_in_adds_a_session_and_logs_out(self):
        given = {"username": EMAIL, "password": PASSWORD}
        self.assertRedirects(self.client.post("/accounts/login/", given), "/")
        self.client.post("/", {"title": "Working at heights"})
        self.assertContains(self.client.get("/"), "Working at heights")
        self.assertContains(self.client.get("/profile"), EMAIL)
        self.client.post("/accounts/logout/")
        self.assertRedirects(self.client.get("/"), "/accounts/login/?next=/")

    def test_a_wrong_password_is_refused(self):
        self.client.post("/accounts/login/", {"username": EMAIL, "password": "wrong"})
        self.assertEqual(self.client.get("/profile").status_code, 302)

    def test_the_admin_lists_users_and_sessions(self):
        self.client.force_login(self.boss)
        Session.objects.create(title="Ladders")
        self.assertContains(self.client.get("/admin/safety/user/"), EMAIL)
        self.assertContains(self.client.get("/admin/safety/session/"), "Ladders")

    def test_a_page_takes_two_queries_for_the_user_and_one_of_its_own(self):
        self.client.force_login(self.ann)
        with self.assertNumQueries(3):
            self.client.get("/")
