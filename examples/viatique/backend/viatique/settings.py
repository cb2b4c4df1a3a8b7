"""Settings of viatique in production: all of it from the environment.

Starting with a wrong environment is refused here, at import, so that a deploy
fails before anything is replaced.
"""

import os
from pathlib import Path

from . import environment as env

BASE_DIR = Path(__file__).resolve().parent.parent

# --- What must be set, and right --------------------------------------------

SECRET_KEY = env.required("SECRET_KEY")
if len(SECRET_KEY) < 50:
    raise ValueError("SECRET_KEY must have at least 50 characters")

ALLOWED_HOSTS = env.comma_separated(env.required("ALLOWED_HOSTS"))

DEBUG = env.boolean("DEBUG", default=False)
if DEBUG:
    raise ValueError("DEBUG must be False in production")

DATABASES = {"default": env.database(env.required("DATABASE_URL"))}

# The release this image was built as, shown by /health/.
RELEASE = os.environ.get("RELEASE", "dev")

# `seed_demo` creates accounts with a known password: only where this allows it.
ALLOW_DEMO_DATA = env.boolean("ALLOW_DEMO_DATA", default=False)

# --- HTTPS -------------------------------------------------------------------

SSL_ENABLED = env.boolean("SSL_ENABLED", default=True)
SESSION_COOKIE_SECURE = env.boolean("SESSION_COOKIE_SECURE", default=SSL_ENABLED)
CSRF_COOKIE_SECURE = env.boolean("CSRF_COOKIE_SECURE", default=SSL_ENABLED)
CSRF_TRUSTED_ORIGINS = env.comma_separated(os.environ.get("CSRF_TRUSTED_ORIGINS", ""))
if SSL_ENABLED:
    # Set by nginx, on every request; nothing but nginx reaches this application.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [r"^health/$"]
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True

# --- The application ---------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "core",
    "accounts",
    "papers",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "viatique.urls"
WSGI_APPLICATION = "viatique.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "accounts.User"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "Europe/Paris"
USE_I18N = True
USE_TZ = True

# --- Files -------------------------------------------------------------------

# File names carry a hash of the content, so the pages of the old and the new
# release find their own files while both are running.
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
}
STATIC_URL = "/static/"
STATIC_ROOT = Path(os.environ.get("STATIC_ROOT", "/srv/viatique/static"))
MEDIA_URL = "/media/"
MEDIA_ROOT = Path(os.environ.get("MEDIA_ROOT", "/srv/viatique/media"))
FILE_UPLOAD_PERMISSIONS = 0o644
MAX_SCAN_BYTES = 20 * 1024 * 1024  # nginx's client_max_body_size says the same

# --- Redis: Celery's broker, and the cache -------------------------------------

CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "redis://redis:6379/0")
CELERY_TASK_IGNORE_RESULT = True
# A task taken by a worker that is killed goes back to the queue.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = TIME_ZONE
CELERY_BEAT_SCHEDULE = {
    "heartbeat": {"task": "core.tasks.heartbeat", "schedule": 30.0},
}

CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": os.environ.get("CACHE_URL", "redis://redis:6379/1"),
        "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 2, "SOCKET_TIMEOUT": 2},
    },
}

# --- Email -------------------------------------------------------------------

EMAIL_HOST = os.environ.get("EMAIL_HOST", "localhost")
EMAIL_PORT = int(os.environ.get("EMAIL_PORT", "25"))
EMAIL_HOST_USER = os.environ.get("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = os.environ.get("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = EMAIL_PORT == 587
EMAIL_TIMEOUT = 10

# --- Logs: one stream, read with `docker compose logs` -------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {"django": {"handlers": ["console"], "level": "INFO", "propagate": False}},
}
