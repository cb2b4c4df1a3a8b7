"""Logging in and out, under /api/."""

from django.urls import path

from . import views

urlpatterns = [
    path("session/", views.session, name="session"),
    path("login/", views.log_in, name="login"),
    path("logout/", views.log_out, name="logout"),
]
