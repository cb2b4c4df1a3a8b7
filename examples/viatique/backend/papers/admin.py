"""Exams and copies in the admin site."""

from django.contrib import admin

from .models import Annotation, Copy, Exam


@admin.register(Exam)
class ExamAdmin(admin.ModelAdmin):
    list_display = ("title", "held_on", "maximum")


class AnnotationInline(admin.TabularInline):
    model = Annotation
    extra = 0


@admin.register(Copy)
class CopyAdmin(admin.ModelAdmin):
    list_display = ("exam", "pupil", "teacher", "total", "uploaded_at")
    list_filter = ("exam",)
    readonly_fields = ("total",)
    inlines = [AnnotationInline]
