"""Tests of the platform's story: scan, annotate, add up, read, and who may not."""

import datetime
import json
import os
import shutil
import tempfile
from decimal import Decimal
from io import StringIO
from unittest.mock import patch

from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client, TestCase, override_settings

from .demo_scan import demo_scan
from .models import Annotation, Copy, Exam
from .tasks import compute_total

MEDIA = tempfile.mkdtemp()
PLAIN_STATIC = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
NOTE = {"page": 1, "x": 0.4, "y": 0.25, "text": "Well argued", "mark": "7.5"}


@override_settings(MEDIA_ROOT=MEDIA, SECURE_SSL_REDIRECT=False, STORAGES=PLAIN_STATIC)
class PapersTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        users = get_user_model().objects
        cls.teacher = users.create_user("teacher", password="pass", role="teacher")
        cls.other_teacher = users.create_user("other", password="pass", role="teacher")
        cls.pupil = users.create_user("pupil", password="pass", role="pupil")
        cls.other_pupil = users.create_user("neighbour", password="pass", role="pupil")
        cls.exam = Exam.objects.create(title="Maths", held_on=datetime.date(2026, 1, 16))
        cls.copy = Copy.objects.create(
            exam=cls.exam, pupil=cls.pupil, teacher=cls.teacher, scan="scans/1/a.png"
        )

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(MEDIA, ignore_errors=True)

    def annotate(self, **changes):
        return self.client.post(
            f"/api/copies/{self.copy.pk}/annotations/",
            {**NOTE, **changes},
            content_type="application/json",
        )


class SessionTests(PapersTestCase):
    def test_login_needs_the_csrf_token(self):
        client = Client(enforce_csrf_checks=True)
        credentials = {"username": "teacher", "password": "pass"}
        self.assertEqual(client.post("/api/login/", credentials).status_code, 403)
        token = client.get("/api/session/").json()["csrf_token"]
        response = client.post("/api/login/", credentials, headers={"X-CSRFToken": token})
        self.assertEqual(response.json()["user"]["role"], "teacher")

    def test_wrong_password(self):
        response = self.client.post("/api/login/", {"username": "teacher", "password": "no"})
        self.assertEqual(response.status_code, 400)

    def test_logout(self):
        self.client.force_login(self.pupil)
        self.assertIsNone(self.client.post("/api/logout/").json()["user"])
        self.assertEqual(self.client.get("/api/copies/").status_code, 401)

    def test_json_that_is_no_object(self):
        response = self.client.post("/api/login/", "[1]", content_type="application/json")
        self.assertEqual(response.status_code, 400)


class AnnotationTests(PapersTestCase):
    @patch("papers.views.compute_total.delay")
    def test_a_teacher_annotates_and_the_total_is_asked_for(self, delay):
        self.client.force_login(self.teacher)
        with self.captureOnCommitCallbacks(execute=True):
            response = self.annotate()
        self.assertEqual(response.status_code, 201)
        delay.assert_called_once_with(self.copy.pk)
        self.assertEqual(Annotation.objects.get().author, self.teacher)

    def test_off_the_page_is_refused(self):
        self.client.force_login(self.teacher)
        response = self.annotate(x=1.2)
        self.assertEqual(response.status_code, 400)
        self.assertIn("x", response.json()["fields"])

    def test_a_pupil_may_not_annotate(self):
        self.client.force_login(self.pupil)
        self.assertEqual(self.annotate().status_code, 403)

    def test_another_teachers_copy_is_not_found(self):
        self.client.force_login(self.other_teacher)
        self.assertEqual(self.annotate().status_code, 404)

    def test_total(self):
        for mark in ("7.5", "4.25", None):
            Annotation.objects.create(
                copy=self.copy, author=self.teacher, x=0, y=0, text="ok", mark=mark
            )
        compute_total(self.copy.pk)
        compute_total(self.copy.pk)
        self.copy.refresh_from_db()
        self.assertEqual(self.copy.total, Decimal("11.75"))


class ReadingTests(PapersTestCase):
    def test_a_pupil_sees_only_their_own_copies(self):
        self.client.force_login(self.other_pupil)
        self.assertEqual(self.client.get("/api/copies/").json(), {"copies": []})
        for address in (f"/api/copies/{self.copy.pk}/", f"/api/copies/{self.copy.pk}/scan/"):
            self.assertEqual(self.client.get(address).status_code, 404)

    def test_a_pupil_reads_the_annotations(self):
        Annotation.objects.create(copy=self.copy, author=self.teacher, x=0, y=0, text="Bravo")
        self.client.force_login(self.pupil)
        copy = self.client.get(f"/api/copies/{self.copy.pk}/").json()
        self.assertEqual([note["text"] for note in copy["annotations"]], ["Bravo"])
        self.assertContains(self.client.get(f"/print/{self.copy.pk}/"), "Bravo")

    def test_the_scan_is_handed_to_nginx(self):
        self.client.force_login(self.pupil)
        response = self.client.get(f"/api/copies/{self.copy.pk}/scan/")
        self.assertEqual(response["X-Accel-Redirect"], "/media/scans/1/a.png")
        self.assertEqual(response["Content-Type"], "image/png")


class UploadTests(PapersTestCase):
    def upload(self, content, name="paper.exe"):
        scan = SimpleUploadedFile(name, content)
        fields = {"exam": self.exam.pk, "pupil": self.other_pupil.pk, "scan": scan}
        return self.client.post("/api/copies/", fields)

    def test_a_teacher_uploads_a_scan(self):
        self.client.force_login(self.teacher)
        self.assertEqual(self.upload(demo_scan()).status_code, 201)
        copy = Copy.objects.get(pupil=self.other_pupil)
        self.assertRegex(copy.scan.name, r"^scans/\d+/[0-9a-f-]{36}\.png$")
        self.assertEqual(copy.scan.read(), demo_scan())

    def test_only_scans_are_accepted(self):
        self.client.force_login(self.teacher)
        self.assertEqual(self.upload(b"<script>", name="a.png").status_code, 400)

    def test_a_pupil_may_not_upload(self):
        self.client.force_login(self.pupil)
        self.assertEqual(self.upload(demo_scan()).status_code, 403)


SMOKE_PASSWORDS = {"SMOKE_TEACHER_PASSWORD": "x" * 16, "SMOKE_PUPIL_PASSWORD": "y" * 16}


@override_settings(CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}})
@patch.dict(os.environ, SMOKE_PASSWORDS)
class SmokeDataTests(PapersTestCase):
    def create(self):
        out = StringIO()
        call_command("smoke_data", "create", stdout=out)
        return json.loads(out.getvalue())

    def rows(self):
        models = (get_user_model(), Exam, Copy, Annotation, Session)
        return [sorted(model.objects.values_list("pk", flat=True)) for model in models]

    def play(self, made):
        self.assertTrue(self.client.login(username="smoke-teacher", password="x" * 16))
        scan = SimpleUploadedFile("a.png", demo_scan())
        copy = self.client.post("/api/copies/", {"exam": made["exam"], "pupil": made["pupil"], "scan": scan})
        self.assertEqual(copy.status_code, 201)
        with patch("papers.views.compute_total.delay"):
            self.client.post(f"/api/copies/{copy.json()['id']}/annotations/", NOTE)
        return Copy.objects.get(pk=copy.json()["id"]).scan.path

    def test_nothing_is_left_and_nothing_else_is_removed(self):
        self.client.force_login(self.teacher)
        Annotation.objects.create(copy=self.copy, author=self.teacher, x=0, y=0, text="stays")
        before = self.rows()
        self.client = Client()
        file = self.play(self.create())
        self.assertTrue(os.path.exists(file))
        call_command("smoke_data", "remove")
        self.assertEqual(self.rows(), before)
        self.assertFalse(os.path.exists(os.path.dirname(file)))
        call_command("smoke_data", "remove")

    def test_what_a_killed_test_has_left_is_removed_first(self):
        before = self.rows()
        file = self.play(self.create())
        self.create()
        self.assertFalse(os.path.exists(file))
        call_command("smoke_data", "remove")
        self.assertEqual(self.rows(), before)

    def test_somebody_of_that_name_is_left_alone(self):
        get_user_model().objects.create_user("smoke-teacher", "a@example.com", role="teacher")
        before = self.rows()
        with self.assertRaisesMessage(CommandError, "somebody's account"):
            self.create()
        call_command("smoke_data", "remove")
        self.assertEqual(self.rows(), before)

    def test_a_weak_password_is_refused(self):
        with patch.dict(os.environ, {"SMOKE_PUPIL_PASSWORD": ""}):
            with self.assertRaisesMessage(CommandError, "SMOKE_PUPIL_PASSWORD"):
                self.create()

    @patch.dict(os.environ, {"VIATIQUE_DEPLOY_RUN": "one"})
    def test_nothing_is_made_once_the_test_is_over(self):
        before = self.rows()
        call_command("smoke_data", "remove")
        with self.assertRaisesMessage(CommandError, "over already"):
            self.create()
        self.assertEqual(self.rows(), before)


class SeedDemoTests(PapersTestCase):
    def test_refused_unless_allowed(self):
        with self.assertRaises(CommandError):
            call_command("seed_demo")

    @override_settings(ALLOW_DEMO_DATA=True)
    def test_safe_to_repeat(self):
        for _ in range(2):
            call_command("seed_demo", stdout=StringIO())
        self.assertEqual(Copy.objects.filter(pupil__username="pupil").count(), 2)
