#!/bin/bash
# Creates the database cluster on an empty volume, then becomes PostgreSQL.
#
# POSTGRES_PASSWORD is required the first time; POSTGRES_USER (a superuser) is
# postgres by default, and POSTGRES_DB the user's name.
set -euo pipefail

# Over the network a password is asked for; inside the container nobody is, so
# that `pg_dump` and `psql` run there by an operator need none.
create_cluster() {
    local user=${POSTGRES_USER:-postgres}
    local database=${POSTGRES_DB:-$user}
    local new=$PGDATA.new
    : "${POSTGRES_PASSWORD:?must be set to create the database}"

    # Built beside its final place and then moved, so that a creation that was
    # interrupted starts over instead of leaving half a cluster.
    rm -rf "$new"
    initdb --pgdata="$new" --username="$user" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") \
        --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --data-checksums
    echo "host all all all scram-sha-256" >>"$new/pg_hba.conf"
    if [ "$database" != postgres ]; then
        # Single-user mode: no server that could be mistaken for the real one.
        echo "CREATE DATABASE \"${database//\"/\"\"}\"" | postgres --single -j -D "$new" postgres
    fi
    mv "$new" "$PGDATA"
}

if [ "$1" = postgres ]; then
    if [ ! -s "$PGDATA/PG_VERSION" ]; then create_cluster >&2; fi
    # Only PostgreSQL itself needs it, and only above.
    unset POSTGRES_PASSWORD
    shift
    set -- postgres -c listen_addresses='*' "$@"
fi
exec "$@"
