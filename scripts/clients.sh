#!/usr/bin/env bash
# The Python and TypeScript clients (clients/): what of them is made from a broker's OpenAPI document, and their tests.
#
#   scripts/clients.sh generate   writes clients/openapi.json and the types made from it
#   scripts/clients.sh check      fails if they are not what the built broker's document makes
#   scripts/clients.sh test       types, lints and tests of both; needs no broker
#   scripts/clients.sh examples   runs both examples; NEARLIGHT_URL and NEARLIGHT_TOKEN say where
#
#   NEARLIGHT_BIN_DIR             where session-broker is, if not in the release build
. "$(dirname "$0")/lib.sh"

BROKER=${NEARLIGHT_BIN_DIR:-$CARGO_TARGET_DIR/release}/session-broker
CLIENTS=$ROOT/clients

install() {
    VENV=$CACHE/clients-$(content_hash "$CLIENTS/python/pyproject.toml")
    if [ ! -e "$VENV/complete" ]; then
        say "installing the Python client's tools below $VENV"
        python3 -m venv "$VENV" || die "cannot make a Python environment" "Install it: apt-get install python3-venv"
        "$VENV/bin/pip" install --quiet "$CLIENTS/python[dev]" || die "cannot install the Python client's tools"
        # The checkout is what is used, and every checkout has the same tools.
        "$VENV/bin/pip" uninstall --quiet --yes nearlight
        touch "$VENV/complete"
    fi
    export PYTHONPATH=$CLIENTS/python/src PYTHONDONTWRITEBYTECODE=1
    (cd "$CLIENTS/typescript" && npm ci --no-audit --no-fund --loglevel=error >&2)
}

# document FILE: what a broker prints of itself, its keys in order.
document() {
    local dir broker until url
    [ -x "$BROKER" ] || die "there is no broker at $BROKER" "Build it: scripts/build.sh"
    dir=$(mktemp -d /tmp/nearlight-clients.XXXXXX)
    printf 'listen = "127.0.0.1:0"\nnode_listen = "127.0.0.1:0"\ndata = "%s/data"\npki = "%s/pki"\ndev_key_file = "%s/dev.key"\n' \
        "$dir" "$dir" "$dir" >"$dir/broker.toml"
    "$BROKER" --config "$dir/broker.toml" >"$dir/ready" 2>"$dir/log" &
    broker=$!
    # shellcheck disable=SC2064
    trap "kill $broker 2>/dev/null || true; wait $broker 2>/dev/null || true; rm -rf '$dir'" EXIT
    until=$((SECONDS + 30))
    until grep -qs ready "$dir/ready"; do
        kill -0 "$broker" 2>/dev/null && [ $SECONDS -lt $until ] || die "the broker does not start" "$(cat "$dir/log")"
        sleep 0.1
    done
    url=http://$(sed -n 's/.*[{,]"listen":"\([^"]*\)".*/\1/p' "$dir/ready")
    curl -sSf "$url/openapi.json" | python3 -c 'import json, sys
json.dump(json.load(sys.stdin), sys.stdout, indent=2, sort_keys=True, ensure_ascii=False)
print()' >"$1" || die "the broker's document is not to be had"
}

# types FOLDER: from FOLDER/openapi.json, where both packages have them.
types() {
    mkdir -p "$1/python/src/nearlight" "$1/typescript/src"
    "$VENV/bin/datamodel-codegen" --input "$1/openapi.json" --input-file-type openapi \
        --output "$1/python/src/nearlight/wire.py" --output-model-type typing.TypedDict \
        --target-python-version 3.10 --enum-field-as-literal all --use-union-operator \
        --use-schema-description --use-field-description --disable-timestamp --disable-warnings --formatters builtin \
        --custom-file-header '# Made from clients/openapi.json by scripts/clients.sh generate: not to be edited.' \
        || die "datamodel-codegen failed"
    "$CLIENTS/typescript/node_modules/.bin/openapi-typescript" "$1/openapi.json" -o "$1/typescript/src/wire.ts" >&2 \
        || die "openapi-typescript failed"
}

GENERATED=(openapi.json python/src/nearlight/wire.py typescript/src/wire.ts)

check() {
    local made file
    made=$(mktemp -d /tmp/nearlight-clients-made.XXXXXX)
    (document "$made/openapi.json") || exit 1
    types "$made"
    for file in "${GENERATED[@]}"; do
        cmp -s "$made/$file" "$CLIENTS/$file" || die "clients/$file is not what this broker's document makes" \
            "Run 'scripts/clients.sh generate', look at 'git diff', and add it to the change. (made: $made)"
    done
    rm -rf "$made"
}

tests() {
    say "Python client"
    (cd "$CLIENTS/python" && "$VENV/bin/ruff" check --quiet . && "$VENV/bin/ruff" format --quiet --check . \
        && "$VENV/bin/mypy" && "$VENV/bin/python" -m pytest -p no:cacheprovider) || die "the Python client's tests failed"
    say "TypeScript client"
    (cd "$CLIENTS/typescript" && npm run --silent test) || die "the TypeScript client's tests failed"
}

examples() {
    "$VENV/bin/python" "$CLIENTS/python/examples/embeddings.py" || die "the Python example failed"
    (cd "$CLIENTS/typescript" && npm run --silent build && node dist/examples/embeddings.js) || die "the TypeScript example failed"
}

case ${1:-} in
    generate) install && (document "$CLIENTS/openapi.json") && types "$CLIENTS" ;;
    check) install && check ;;
    test) install && tests ;;
    examples) install && examples ;;
    *) die "usage: scripts/clients.sh generate|check|test|examples" ;;
esac
