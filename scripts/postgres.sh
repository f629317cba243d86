#!/usr/bin/env bash
# A PostgreSQL of one's own, for tests, benches and trying things out: no network, only a socket.
#
#   scripts/postgres.sh start [DIR]   makes DIR (default: a new one below /tmp) or starts what is in it;
#                                     prints DIR and the URL for --ledger, a line each
#   scripts/postgres.sh stop DIR      stops it
#   scripts/postgres.sh kill DIR      ends it as a crash would: kill -9
#   scripts/postgres.sh drop DIR      stops it and removes DIR
#   scripts/postgres.sh ask DIR       runs the SQL of standard input; prints what it returns, bare
#   scripts/postgres.sh standby DIR NEW SOCKETS
#                                     makes NEW a standby of DIR, and starts it; it reaches DIR by the
#                                     socket in the directory SOCKETS
#   scripts/postgres.sh promote DIR   makes a standby the primary
#
# Started by root, it runs as the user `postgres`, for PostgreSQL refuses to be root.
. "$(dirname "$0")/lib.sh"

USAGE="usage: postgres.sh start [DIR] | stop DIR | kill DIR | drop DIR | ask DIR | standby DIR NEW SOCKETS | promote DIR"
START_WITHIN_S=60

# Debian keeps the server's programs away from the PATH.
find_programs() {
    local bin
    for bin in "$(dirname "$(readlink -f "$(command -v initdb || echo /nowhere/x)")")" /usr/lib/postgresql/*/bin; do
        if [ -x "$bin/initdb" ] && [ -x "$bin/pg_ctl" ]; then
            BIN=$bin
            return
        fi
    done
    die "there is no PostgreSQL" "Install it: apt-get install postgresql"
}

as_owner() {
    if [ "$(id -u)" != 0 ]; then
        "$@"
    else
        setpriv --reuid="$owner" --regid="$(id -g "$owner")" --clear-groups env HOME=/ "$@"
    fi
}

# Sets BLOCKED to the topmost folder on the way to DIR that keeps the owner out, if one does.
find_blocked() {
    local dir=$1
    while ! as_owner test -x "$dir"; do
        BLOCKED=$dir
        dir=$(dirname "$dir")
    done
}

start() {
    local dir=${1:-}
    [ -n "$dir" ] || dir=$(mktemp -d /tmp/nearlight-postgres.XXXXXX)
    mkdir -p "$dir/socket"
    chmod 755 "$dir"
    [ "$(id -u)" != 0 ] || chown -R "$owner" "$dir"
    BLOCKED=
    find_blocked "$dir"
    [ -z "$BLOCKED" ] || die "PostgreSQL runs as the user $owner, who may not enter $BLOCKED" "Move the checkout to where everybody may, such as /srv, or: chmod o+x $BLOCKED"
    if [ ! -e "$dir/data/PG_VERSION" ]; then
        as_owner "$BIN/initdb" --pgdata "$dir/data" --username nearlight --auth trust \
            --encoding UTF8 --locale C --no-sync >"$dir/initdb.log" 2>&1 \
            || die "initdb failed" "See $dir/initdb.log."
        cat >>"$dir/data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$dir/socket'
max_connections = 50
shared_buffers = 256MB
max_wal_size = 4GB
checkpoint_timeout = 15min
CONF
    fi
    # After a crash the old server's children hold its memory for a moment.
    local until=$((SECONDS + START_WITHIN_S))
    until as_owner "$BIN/pg_ctl" --pgdata "$dir/data" --log "$dir/log" --wait --timeout $START_WITHIN_S start >/dev/null 2>&1; do
        [ $SECONDS -lt $until ] || die "PostgreSQL does not start" "See $dir/log."
        sleep 0.1
    done
    echo "$dir"
    echo "postgres://nearlight@localhost/postgres?host=$dir/socket"
}

standby() {
    local of=$1 dir=$2 sockets=$3
    mkdir -p "$dir/socket"
    chmod 755 "$dir"
    [ "$(id -u)" != 0 ] || chown -R "$owner" "$dir"
    as_owner "$BIN/pg_basebackup" --pgdata "$dir/data" --host "$of/socket" --username nearlight \
        --checkpoint fast --wal-method stream --no-sync >"$dir/basebackup.log" 2>&1 \
        || die "no copy of the primary" "See $dir/basebackup.log."
    cat >>"$dir/data/postgresql.conf" <<CONF
unix_socket_directories = '$dir/socket'
primary_conninfo = 'host=$sockets user=nearlight application_name=standby'
CONF
    touch "$dir/data/standby.signal"
    [ "$(id -u)" != 0 ] || chown "$owner" "$dir/data/standby.signal"
    start "$dir"
}

stop() { as_owner "$BIN/pg_ctl" --pgdata "$1/data" --mode fast --wait stop >/dev/null || true; }

main() {
    find_programs
    owner=nobody
    ! id postgres >/dev/null 2>&1 || owner=postgres
    case ${1:-} in
        start) start "${2:-}" ;;
        stop) stop "${2:?$USAGE}" ;;
        ask) "$BIN/psql" --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --host "${2:?$USAGE}/socket" --username nearlight postgres ;;
        standby) standby "${2:?$USAGE}" "${3:?$USAGE}" "${4:?$USAGE}" ;;
        promote) as_owner "$BIN/pg_ctl" --pgdata "${2:?$USAGE}/data" --wait --timeout $START_WITHIN_S promote >/dev/null ;;
        kill) kill -9 "$(head -n1 "${2:?$USAGE}/data/postmaster.pid")" ;;
        drop)
            stop "${2:?$USAGE}"
            rm -rf "$2"
            ;;
        *) die "$USAGE" ;;
    esac
}

main "$@"
