#!/usr/bin/env bash
# The Python and TypeScript clients (clients/): what of them is made from a broker's OpenAPI document, and their tests.
#
#   scripts/clients.sh generate   writes clients/openapi.json and the types made from it
#   scripts/clients.sh check      fails if they are not what the built broker's document makes
#   scripts/clients.sh test       types, lints and tests of both, as they are installed; needs no broker
#   scripts/clients.sh packages FOLDER    installs both into a new folder, as who uses them has them
#   scripts/clients.sh examples [FOLDER]  runs the examples of both, as they are installed there; NEARLIGHT_URL and NEARLIGHT_TOKEN say where
#
#   NEARLIGHT_BIN_DIR             where session-broker is, if not in the release build
. "$(dirname "$0")/lib.sh"

BROKER=$NEARLIGHT_BIN_DIR/session-broker
CLIENTS=$ROOT/clients

install() {
    VENV=$CACHE/clients-$(content_hash "$CLIENTS/python/pyproject.toml")
    if [ ! -e "$VENV/complete" ]; then
        say "installing the Python client's tools below $VENV"
        python3 -m venv "$VENV" || die "cannot make a Python environment" "Install it: apt-get install python3-venv"
        "$VENV/bin/pip" install --quiet "$CLIENTS/python[dev]" || die "cannot install the Python client's tools"
        # Every checkout has the same tools, and its own package.
        "$VENV/bin/pip" uninstall --quiet --yes nearlight
        touch "$VENV/complete"
    fi
    export PYTHONDONTWRITEBYTECODE=1
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

# packages [FOLDER]: both packages as who installs them has them, in fresh folders: MADE/python, an environment, and MADE/js, a
# project. What they need has the versions that the tests' tools were installed with, not those of today.
packages() {
    local python wheel
    if [ $# -gt 0 ]; then
        mkdir -p "$1" && MADE=$(cd "$1" && pwd)
    else
        MADE=$(mktemp -d /tmp/nearlight-packages.XXXXXX)
        trap 'rm -rf "$MADE"' EXIT
    fi
    say "packing and installing both clients"
    python=$MADE/python/bin/python
    "$VENV/bin/pip" wheel --quiet --no-deps --wheel-dir "$MADE" "$CLIENTS/python" || die "the Python package cannot be built"
    wheel=$(echo "$MADE"/nearlight-*.whl)
    "$VENV/bin/python" -m venv "$MADE/python"
    "$VENV/bin/pip" freeze >"$MADE/constraints.txt" || die "the versions of the Python tools cannot be read"
    "$python" -m pip install --quiet --constraint "$MADE/constraints.txt" "$wheel[exec]" || die "the Python package cannot be installed"
    # With what it asks for and nothing else.
    (cd "$MADE" && "$python" -I -c 'import nearlight, websockets.asyncio.client') || die "the Python package lacks something"
    # Behind that the tools of the tests.
    "$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$(echo "$MADE"/python/lib/python3*/site-packages)/tools.pth"

    (cd "$CLIENTS/typescript" && npm pack --silent --pack-destination "$MADE" >/dev/null) || die "the TypeScript package cannot be built"
    mkdir "$MADE/js"
    cp -r "$CLIENTS/typescript/"{test,examples,tsconfig.json} "$MADE/js/"
    cp -r "$CLIENTS/vectors" "$MADE/"
    (cd "$MADE/js" && node -e 'const { packages } = require(process.argv[1]);
const dependencies = { nearlight: "file:" + process.argv[2] };
for (const [path, { version, optional }] of Object.entries(packages)) {
    const name = path.split("node_modules/");
    if (name.length === 2 && !optional) dependencies[name[1]] = version;
}
fs.writeFileSync("package.json", JSON.stringify({ private: true, type: "module", dependencies }))' \
        "$CLIENTS/typescript/package-lock.json" "$(echo "$MADE"/nearlight-*.tgz)" \
        && npm install --prefer-offline --no-audit --no-fund --loglevel=error >&2 \
        && node_modules/.bin/tsc >&2) || die "the TypeScript package cannot be installed"
}

tests() {
    say "Python client"
    (cd "$CLIENTS/python" && "$VENV/bin/ruff" check --quiet . && "$VENV/bin/ruff" format --quiet --check . && "$VENV/bin/mypy") \
        || die "the Python client's types or lints failed"
    # Its types are there for others, and its tests pass, wherever the checkout is.
    (cd "$MADE" && "$VENV/bin/mypy" --config-file= --strict --cache-dir=mypy --python-executable "$MADE/python/bin/python" "$CLIENTS"/python/examples/*.py \
        && "$MADE/python/bin/python" -m pytest -p no:cacheprovider -c "$CLIENTS/python/pyproject.toml" -o pythonpath= "$CLIENTS/python/tests") \
        || die "the Python client's tests failed"
    say "TypeScript client"
    (cd "$MADE/js" && node --experimental-websocket --test --enable-source-maps dist/test/*.test.js) || die "the TypeScript client's tests failed"
}

examples() {
    local example job=$ROOT/configs/jobs/embeddings/job.toml
    for example in embeddings exec; do
        "$MADE/python/bin/python" "$CLIENTS/python/examples/$example.py" || die "the Python example $example failed"
    done
    for example in embeddings exec; do
        node --experimental-websocket "$MADE/js/dist/examples/$example.js" "$job" || die "the TypeScript example $example failed"
    done
}

case ${1:-} in
    generate) install && (document "$CLIENTS/openapi.json") && types "$CLIENTS" ;;
    check) install && check ;;
    test) install && packages && tests ;;
    packages) install && packages "${2:?packages needs a folder}" ;;
    examples)
        if [ -n "${2:-}" ]; then MADE=$2; else install && packages; fi
        examples
        ;;
    *) die "usage: scripts/clients.sh generate|check|test|packages FOLDER|examples [FOLDER]" ;;
esac
