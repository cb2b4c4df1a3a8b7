"""Reads settings from environment variables, and refuses what it cannot read."""

import os
from urllib.parse import parse_qsl, unquote, urlsplit

TRUE = {"1", "true", "yes", "on"}
FALSE = {"", "0", "false", "no", "off"}


def required(name):
    value = os.environ.get(name, "").strip()
    if not value:
        raise ValueError(f"{name} must be set")
    return value


def boolean(name, default):
    value = os.environ.get(name)
    if value is None:
        return default
    if value.strip().lower() in TRUE:
        return True
    if value.strip().lower() in FALSE:
        return False
    raise ValueError(f"{name} must be True or False")


def comma_separated(value):
    return [item.strip() for item in value.split(",") if item.strip()]


def database(url):
    """One entry of DATABASES from `postgresql://user:password@host:port/name`.

    `sqlite:///path` and `sqlite://:memory:` serve the tests. The URL is never
    part of an error: it holds the password.
    """
    if url.startswith("sqlite://"):
        name = url.removeprefix("sqlite://")
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": name}
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres"):
        raise ValueError("DATABASE_URL must start with postgresql://")
    name = unquote(parts.path.lstrip("/"))
    if not parts.hostname or not name:
        raise ValueError("DATABASE_URL must name a host and a database")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": parts.hostname,
        "PORT": parts.port or 5432,
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"connect_timeout": 3, **dict(parse_qsl(parts.query))},
    }
