"""Tests of the health endpoint and of how settings read the environment."""

from unittest.mock import patch

from django.db import OperationalError
from django.test import SimpleTestCase, TestCase, override_settings

from viatique import environment


@override_settings(SECURE_SSL_REDIRECT=False, RELEASE="v42")
class HealthTests(TestCase):
    @patch("core.views.check_redis")
    def test_healthy_when_both_answer(self, _redis):
        response = self.client.get("/health/")
        self.assertEqual(response.status_code, 200)
        self.assertEqual(
            response.json(),
            {"status": "healthy", "database": "connected", "redis": "connected", "release": "v42"},
        )

    @patch("core.views.check_redis")
    @patch("core.views.check_database", side_effect=OperationalError("password=secret"))
    def test_unhealthy_without_the_database_and_tells_no_secret(self, _database, _redis):
        with self.assertLogs("core.views", "ERROR"):
            response = self.client.get("/health/")
        self.assertEqual(response.status_code, 503)
        self.assertEqual(response.json()["database"], "unreachable")
        self.assertEqual(response.json()["redis"], "connected")
        self.assertNotContains(response, "secret", status_code=503)

    @patch("core.views.check_redis", side_effect=ConnectionError)
    def test_unhealthy_without_redis(self, _redis):
        with self.assertLogs("core.views", "ERROR"):
            response = self.client.get("/health/")
        self.assertEqual(response.status_code, 503)
        self.assertEqual(response.json()["status"], "unhealthy")


class EnvironmentTests(SimpleTestCase):
    def test_database_url_is_unquoted(self):
        database = environment.database("postgresql://ada:p%40ss@db:5433/school?sslmode=require")
        self.assertEqual(database["USER"], "ada")
        self.assertEqual(database["PASSWORD"], "p@ss")
        self.assertEqual((database["HOST"], database["PORT"]), ("db", 5433))
        self.assertEqual(database["NAME"], "school")
        self.assertEqual(database["OPTIONS"]["sslmode"], "require")

    def test_other_databases_are_refused_without_showing_the_url(self):
        with self.assertRaises(ValueError) as refused:
            environment.database("mysql://ada:secret@db/school")
        self.assertNotIn("secret", str(refused.exception))

    def test_a_required_variable_must_not_be_blank(self):
        with patch.dict("os.environ", {"SECRET_KEY": " "}):
            with self.assertRaisesMessage(ValueError, "SECRET_KEY must be set"):
                environment.required("SECRET_KEY")
