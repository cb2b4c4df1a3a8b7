#!/bin/sh
# Tells the page which release this is, then becomes nginx.
set -eu
printf '{"release": "%s"}\n' "$RELEASE" >/tmp/release.json
exec "$@"
