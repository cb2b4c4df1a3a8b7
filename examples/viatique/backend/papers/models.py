"""An exam, a pupil's scanned copy of it, and the annotations on the copy."""

import uuid
from pathlib import PurePosixPath

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

ON_THE_PAGE = [MinValueValidator(0), MaxValueValidator(1)]


def scan_path(copy, filename):
    """Where a scan is kept: the name tells nothing about the pupil."""
    suffix = PurePosixPath(filename).suffix.lower()
    return f"scans/{copy.exam_id}/{uuid.uuid4()}{suffix}"


class Exam(models.Model):
    title = models.CharField(max_length=200)
    held_on = models.DateField()
    maximum = models.DecimalField(max_digits=5, decimal_places=2, default=20)

    class Meta:
        ordering = ["-held_on", "title"]

    def __str__(self):
        return self.title


class CopyQuerySet(models.QuerySet):
    def visible_to(self, user):
        """A teacher sees the copies to mark, a pupil only their own."""
        mine = {"teacher": user} if user.is_teacher else {"pupil": user}
        return self.filter(**mine).select_related("exam", "pupil", "teacher")


class Copy(models.Model):
    exam = models.ForeignKey(Exam, on_delete=models.PROTECT, related_name="copies")
    pupil = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="copies"
    )
    teacher = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="copies_to_mark"
    )
    scan = models.FileField(upload_to=scan_path)
    uploaded_at = models.DateTimeField(auto_now_add=True)
    # Computed in the background after each annotation; null until then.
    total = models.DecimalField(max_digits=6, decimal_places=2, null=True, editable=False)

    objects = CopyQuerySet.as_manager()

    class Meta:
        ordering = ["exam", "pupil"]
        verbose_name_plural = "copies"
        constraints = [
            models.UniqueConstraint(fields=["exam", "pupil"], name="one_copy_per_exam_and_pupil"),
        ]

    def __str__(self):
        return f"{self.exam}, {self.pupil.display_name}"


class Annotation(models.Model):
    copy = models.ForeignKey(Copy, on_delete=models.CASCADE, related_name="annotations")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    page = models.PositiveSmallIntegerField(default=1, validators=[MinValueValidator(1)])
    # From the top left corner, in fractions of the page.
    x = models.FloatField(validators=ON_THE_PAGE)
    y = models.FloatField(validators=ON_THE_PAGE)
    text = models.TextField(max_length=2000)
    mark = models.DecimalField(max_digits=5, decimal_places=2, null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["page", "y", "x", "id"]
        indexes = [models.Index(fields=["copy", "page"], name="annotation_copy_page")]

    def __str__(self):
        return self.text[:50]
