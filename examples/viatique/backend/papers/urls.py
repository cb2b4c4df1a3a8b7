"""Exams, copies and annotations, under /api/."""

from django.urls import path

from . import views

urlpatterns = [
    path("exams/", views.exams, name="exams"),
    path("copies/", views.copies, name="copies"),
    path("copies/<int:copy_id>/", views.copy_detail, name="copy"),
    path("copies/<int:copy_id>/scan/", views.copy_scan, name="scan"),
    path("copies/<int:copy_id>/annotations/", views.annotations, name="annotations"),
]
