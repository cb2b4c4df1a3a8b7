"""Declares the papers application."""

from django.apps import AppConfig


class PapersConfig(AppConfig):
    name = "papers"
