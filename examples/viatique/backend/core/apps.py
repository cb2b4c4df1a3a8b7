"""Declares the core application."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "core"
