"""The user model: a Django user who is a teacher or a pupil."""

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    class Role(models.TextChoices):
        TEACHER = "teacher", "teacher"
        PUPIL = "pupil", "pupil"

    role = models.CharField(max_length=10, choices=Role.choices, default=Role.PUPIL)

    @property
    def is_teacher(self):
        return self.role == self.Role.TEACHER

    @property
    def display_name(self):
        return self.get_full_name() or self.username
