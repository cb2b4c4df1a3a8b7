"""Makes and removes what the smoke test needs: a teacher, a pupil and an exam.

Called by the section `smoke` of deploy.yml, in production too. The accounts are
there only while the test runs, with passwords that are made for it and told in
the environment. `create` first removes what a test that was killed has left.
"""

import contextlib
import datetime
import json
import os

from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction
from django.db.models import Min, Q

from papers.models import Annotation, Copy, Exam

TEACHER, PUPIL = "smoke-teacher", "smoke-pupil"
# Whoever has one of the names and another address is a person, and is left alone.
EMAIL = "smoke-test@viatique.invalid"
EXAM = {"title": "Smoke test, removed by itself", "held_on": datetime.date(1970, 1, 1)}
# Any number, as long as nothing else locks it.
LOCK = 7_305_118


class Command(BaseCommand):
    help = "Make, or remove, the smoke test's teacher, pupil and exam."

    def add_arguments(self, parser):
        parser.add_argument("what", choices=["create", "remove"])

    def handle(self, *args, what, **options):
        if what == "create":
            self.stdout.write(json.dumps(create()))
        else:
            say_that_it_is_over()
            with transaction.atomic():
                wait_for_others()
                remove()


def create():
    passwords = {name: password(name) for name in ("SMOKE_TEACHER_PASSWORD", "SMOKE_PUPIL_PASSWORD")}
    with transaction.atomic():
        wait_for_others()
        if is_over():
            raise CommandError("this smoke test is over already")
        remove()
        users = get_user_model().objects
        if users.filter(username__in=[TEACHER, PUPIL]).exists():
            raise CommandError(f"{TEACHER} or {PUPIL} is somebody's account")
        users.create_user(TEACHER, EMAIL, passwords["SMOKE_TEACHER_PASSWORD"], role="teacher")
        pupil = users.create_user(PUPIL, EMAIL, passwords["SMOKE_PUPIL_PASSWORD"], role="pupil")
        exam = Exam.objects.create(**EXAM)
        return {"exam": exam.pk, "pupil": pupil.pk}


def password(name):
    value = os.environ.get(name, "")
    if len(value) < 16:
        raise CommandError(f"{name} must have at least 16 characters")
    return value


def remove():
    """Everything of the smoke test, and nothing else."""
    users = get_user_model().objects.filter(username__in=[TEACHER, PUPIL], email=EMAIL)
    exams = Exam.objects.filter(**EXAM)
    copies = Copy.objects.filter(Q(exam__in=exams) | Q(pupil__in=users) | Q(teacher__in=users))
    # Files first: where this is cut off, their rows are still there to find them by.
    for copy in copies:
        remove_file(copy.scan)
    Annotation.objects.filter(Q(copy__in=copies) | Q(author__in=users)).delete()
    copies.delete()
    exams.delete()
    remove_sessions(users)
    users.delete()


def remove_file(file):
    file.storage.delete(file.name)
    # The exam's folder, once it is empty.
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(file.storage.path(file.name)))


def remove_sessions(users):
    """Those of these users that nobody has logged out of."""
    since = users.aggregate(joined=Min("date_joined"))["joined"]
    if since is None:
        return
    # No session of theirs ends earlier; of a large table most need not be read.
    ends = since + datetime.timedelta(seconds=settings.SESSION_COOKIE_AGE)
    ids = {str(pk) for pk in users.values_list("pk", flat=True)}
    for session in Session.objects.filter(expire_date__gte=ends).iterator():
        if session.get_decoded().get(SESSION_KEY) in ids:
            session.delete()


# A test that is interrupted removes its data while `create` may still be on its
# way: one waits for the other, and `create` makes nothing where it comes second.


def wait_for_others():
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def over_key():
    # One run may play twice: against its new container, and through the site.
    run, step = (os.environ.get(f"VIATIQUE_DEPLOY_{name}") for name in ("RUN", "STEP"))
    return run and f"smoke-over-{run}-{step}"


def is_over():
    return over_key() and cache.get(over_key())


def say_that_it_is_over():
    if over_key():
        cache.set(over_key(), True, timeout=600)
