#!/usr/bin/env bash
# Runs the backend's tests inside the image that would be deployed, with an
# in-memory database and no network.
set -euo pipefail
cd "$(dirname "$0")"

docker build --quiet --tag viatique-backend:test backend >/dev/null
# `docker run` reads DATABASE_URL and the rest from here, never from a file with secrets.
exec docker run --rm --network none --env-file /dev/stdin viatique-backend:test \
    python3 manage.py test "$@" <<'ENV'
SECRET_KEY=only-for-the-tests-only-for-the-tests-only-for-the-tests
ALLOWED_HOSTS=testserver
DATABASE_URL=sqlite://:memory:
SSL_ENABLED=False
STATIC_ROOT=/tmp/static
MEDIA_ROOT=/tmp/media
ENV
