"""The viatique project. Loads the Celery application so that tasks bind to it."""

from .celery import app as celery_app

__all__ = ["celery_app"]
