"""The health endpoint: can this process reach what it cannot work without?"""

import logging

from django.conf import settings
from django.db import connection
from django.http import JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_redis import get_redis_connection

logger = logging.getLogger(__name__)


def check_database():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def check_redis():
    get_redis_connection("default").ping()


@require_safe
@never_cache
def health_check(request):
    """200 when the database and Redis both answer, otherwise 503.

    The details of a failure go to the log: this page is public.
    """
    answer = {"status": "healthy", "release": settings.RELEASE}
    for name, check in (("database", check_database), ("redis", check_redis)):
        try:
            check()
            answer[name] = "connected"
        except Exception as error:
            logger.error("health check: %s does not answer: %s", name, error)
            answer["status"] = "unhealthy"
            answer[name] = "unreachable"
            answer.setdefault("error", f"{name}: {type(error).__name__}")
    return JsonResponse(answer, status=200 if answer["status"] == "healthy" else 503)
