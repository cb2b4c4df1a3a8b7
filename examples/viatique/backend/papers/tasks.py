"""Background work on copies."""

from celery import shared_task
from django.db.models import Sum

from .models import Annotation, Copy


@shared_task
def compute_total(copy_id):
    """Adds up the marks on a copy. Safe to repeat: it reads, then sets."""
    marks = Annotation.objects.filter(copy_id=copy_id).aggregate(total=Sum("mark"))
    Copy.objects.filter(pk=copy_id).update(total=marks["total"])
