#!/usr/bin/env bash
# Requests made from /openapi.json against a real broker: no answer of 5xx, and none that the document
# does not describe. Without credentials, as a guest, as a tenant and as an administrator.
#
#   SCHEMATHESIS_EXAMPLES=30   requests an operation; more find more
#   SCHEMATHESIS_SEED=1        of what is made up; a failure prints how to send the request again
#   NEARLIGHT_BIN_DIR          where session-broker is, if not in the release build
. "$(dirname "$0")/lib.sh"

VERSION=4.32.5
EXAMPLES=${SCHEMATHESIS_EXAMPLES:-30}
SEED=${SCHEMATHESIS_SEED:-1}
BROKER=$NEARLIGHT_BIN_DIR/session-broker
# What is checked. A negative that is taken is no breach: unknown headers and parameters are ignored.
CHECKS=not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance

install() {
    VENV=$CACHE/schemathesis-$VERSION
    [ ! -x "$VENV/bin/st" ] || return 0
    say "installing schemathesis $VERSION below $VENV"
    python3 -m venv "$VENV" || die "cannot make a Python environment" "Install it: apt-get install python3-venv"
    "$VENV/bin/pip" install --quiet "schemathesis==$VERSION" || die "cannot install schemathesis"
}

start_broker() {
    DIR=$(mktemp -d /tmp/nearlight-schemathesis.XXXXXX)
    trap 'kill $broker 2>/dev/null || true; wait $broker 2>/dev/null || true; rm -rf "$DIR"' EXIT
    # Rates are tested elsewhere; here they would answer for everything else.
    cat >"$DIR/broker.toml" <<CONF
listen = "127.0.0.1:0"
node_listen = "127.0.0.1:0"
data = "$DIR/data"
pki = "$DIR/pki"
dev_key_file = "$DIR/dev.key"
[limits]
requests_per_s = 100000
requests_burst = 1000000
creates_per_min = 1000000
creates_burst = 1000000
guests_per_min = 1000000
guests_burst = 1000000
viewers_per_min = 1000000
viewers_burst = 1000000
key_requests_per_s = 100000
key_requests_burst = 1000000
key_creates_per_min = 1000000
key_creates_burst = 1000000
tenant_requests_per_s = 100000
tenant_requests_burst = 1000000
tenant_creates_per_min = 1000000
tenant_creates_burst = 1000000
CONF
    "$BROKER" --config "$DIR/broker.toml" >"$DIR/ready" 2>"$DIR/log" &
    broker=$!
    local until=$((SECONDS + 30))
    until grep -q ready "$DIR/ready"; do
        kill -0 $broker 2>/dev/null && [ $SECONDS -lt $until ] || die "the broker does not start" "$(cat "$DIR/log")"
        sleep 0.1
    done
    URL=http://$(sed -n 's/.*"listen":"\([^"]*\)".*/\1/p' "$DIR/ready")
}

# post PATH BODY POINTER: a string of what the administrator is answered.
post() {
    curl -sSf -X POST "$URL$1" -H "Authorization: Bearer $(cat "$DIR/dev.key")" -H 'Content-Type: application/json' -d "$2" \
        | python3 -c 'import json,sys; v=json.load(sys.stdin)
for k in sys.argv[1].split("/"): v=v[k]
print(v)' "$3"
}

# check WHO ARGUMENT...
check() {
    local who=$1
    shift
    say "schemathesis, $who"
    # A stream of events has no end that a client could wait for.
    # It keeps what it finds in the directory that it runs in.
    (cd "$DIR" && SCHEMATHESIS_HOOKS=schemathesis_hooks PYTHONPATH=$ROOT/scripts PYTHONDONTWRITEBYTECODE=1 "$VENV/bin/st" run "$URL/openapi.json" --checks $CHECKS --seed "$SEED" --max-examples "$EXAMPLES" --workers 1 \
        --exclude-path '/v1/sessions/{id}/events' --request-timeout 10 --no-color \
        --phases "${PHASES:-examples,coverage,fuzzing,stateful}" "$@" >"$DIR/out" 2>&1) || {
        cat "$DIR/out" >&2
        die "schemathesis, $who: the API does not do what its document says" "The broker's log: $(tail -n 20 "$DIR/log")"
    }
    tail -n 12 "$DIR/out" >&2
}

install
start_broker
check "nobody"
guest=$(curl -sSf -c - "$URL/v1/whoami" -o /dev/null | awk '$6 == "nearlight_guest" {print $7}')
check "a guest" --header "Cookie: nearlight_guest=$guest"
tenant=$(post /v1/tenants '{"name":"checked"}' id)
key=$(post /v1/keys "{\"name\":\"checked\",\"role\":\"tenant\",\"tenant\":\"$tenant\"}" secret)
check "a tenant" --header "Authorization: Bearer $key"
check "an administrator" --header "Authorization: Bearer $(cat "$DIR/dev.key")"
kill -0 $broker || die "the broker is gone" "$(tail -n 20 "$DIR/log")"
