"""Creates the demo: one teacher, one pupil, one exam, one scanned copy."""

import datetime

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from papers.demo_scan import demo_scan
from papers.models import Copy, Exam

PASSWORD = "viatique-demo"


class Command(BaseCommand):
    help = "Create the demo's teacher, pupil, exam and copy. Safe to repeat."

    @transaction.atomic
    def handle(self, *args, **options):
        if not settings.ALLOW_DEMO_DATA:
            raise CommandError(
                "the demo's accounts have a known password: set ALLOW_DEMO_DATA=True to allow them"
            )
        teacher = self.user("teacher", "Marie", "Noyer", role="teacher")
        pupil = self.user("pupil", "Paul", "Tilleul", role="pupil")
        exam, _ = Exam.objects.get_or_create(
            title="Mathematics, end of term", held_on=datetime.date(2026, 1, 16)
        )
        copy, created = Copy.objects.get_or_create(
            exam=exam, pupil=pupil, defaults={"teacher": teacher}
        )
        # Also mends a copy whose file was lost, say by an emptied media volume.
        if not copy.scan or not copy.scan.storage.exists(copy.scan.name):
            copy.scan.save("demo.png", ContentFile(demo_scan()))
        done = "created" if created else "already there"
        self.stdout.write(f"demo copy {copy.pk} {done}: log in as teacher or pupil, {PASSWORD}")

    def user(self, username, first_name, last_name, role):
        user, created = get_user_model().objects.get_or_create(
            username=username,
            defaults={"first_name": first_name, "last_name": last_name, "role": role},
        )
        if created:
            user.set_password(PASSWORD)
            user.save()
        return user
