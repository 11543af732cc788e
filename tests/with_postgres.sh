#!/usr/bin/env bash
# Runs a command with a PostgreSQL of its own: a fresh cluster on loopback that is gone afterwards.
# The command finds its address in AIGENFLOW_TEST_POSTGRES.
# Usage: tests/with_postgres.sh COMMAND [ARGUMENT…]
set -euo pipefail

newest() { ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1; }
if [ -z "$(newest)" ]; then
    apt-get update -q && apt-get install -q -y postgresql
fi
bin=$(newest)
folder=$(mktemp -d)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
as_owner() { "$@"; }
if [ "$(id -u)" = 0 ]; then  # the server refuses to run as root
    chown postgres "$folder"
    as_owner() { runuser -u postgres -- "$@"; }
fi
stop() {
    as_owner "$bin/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$folder"
}
trap stop EXIT
# SQL_ASCII is what a machine without a locale gets, and the hardest encoding to be right with.
as_owner "$bin/initdb" -D "$folder/data" -U aigenflow --auth=trust \
    --encoding=SQL_ASCII --locale=C >/dev/null
as_owner "$bin/pg_ctl" -D "$folder/data" -w -l "$folder/log" \
    -o "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories=$folder" start >/dev/null
export AIGENFLOW_TEST_POSTGRES="postgresql://aigenflow@127.0.0.1:$port/postgres"
"$@"
