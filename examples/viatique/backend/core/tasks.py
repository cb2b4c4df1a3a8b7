"""Background work that belongs to no school subject."""

from celery import shared_task
from django.core.cache import cache
from django.utils import timezone

HEARTBEAT_KEY = "celery-heartbeat"


@shared_task
def heartbeat():
    """Shows that beat schedules and a worker works: the time of the last run.

    It expires, so that a missing key means that background work has stopped.
    """
    cache.set(HEARTBEAT_KEY, timezone.now().isoformat(), timeout=120)
