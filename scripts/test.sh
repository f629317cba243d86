#!/usr/bin/env bash
# `make test`: everything that a change must pass, from the fast to the slow. Installs what it needs,
# starts a Docker engine where none runs, and stops what it started. One compilation, the development
# build, is for all of it: end-to-end tests run its programs, too (docs/adr/0076).
. "$(dirname "$0")/lib.sh"

cd "$ROOT"
# A whole run reads what the compiler keeps between two changes of one crate for nothing: 20 GB.
export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}
export NEARLIGHT_BIN_DIR=$CARGO_TARGET_DIR/debug
# GiB of a target directory after a run, and what goes to the rest: images, containers, databases, browsers.
TARGET_GIB=22 REST_GIB=8
# Only what this run started is stopped.
engine_is_ours=0
# What runs beside a step, and what it said.
beside='' said=''
tidy() {
    # Its group: what it started ends with it.
    [ -z "$beside" ] || kill -- "-$beside" 2>/dev/null || true
    rm -f "$clock" "$said"
    [ $engine_is_ours = 0 ] || scripts/docker.sh stop
}
trap tidy EXIT

began=$SECONDS
took=()
# spent: sets cpu to the CPU seconds of what this shell started and waited for. An engine's are not among them. (In a
# subshell, `times` would speak of that.)
clock=$(mktemp) cpu=0
spent() {
    times >"$clock"
    cpu=$(sed -n '2s/[ms]/ /gp' "$clock" | { read -r um us sm ss && echo $((um * 60 + ${us%.*} + sm * 60 + ${ss%.*})); })
}

# step NAME FUNCTION: a failure ends everything, with the step's name. Within a function of a step
# bash does not stop at a failed command, so each chains its commands with &&.
step() {
    local name=$1 start=$SECONDS before
    spent && before=$cpu
    shift
    say "$name"
    "$@" || {
        say "seconds so far: ${took[*]} $name $((SECONDS - start))"
        die "$name: failed"
    }
    spent
    printf '    %s: %d s, %d s of CPU\n' "$name" $((SECONDS - start)) $((cpu - before)) >&2
    took+=("$name $((SECONDS - start)) (CPU $((cpu - before))),")
}

# A disk that fills up half-way fails whatever writes next, in words of its own.
room() {
    mkdir -p "$CARGO_TARGET_DIR" || return
    local held free wanted
    held=$(du -s --block-size=1G "$CARGO_TARGET_DIR" | cut -f1)
    free=$(df --output=avail --block-size=1G "$CARGO_TARGET_DIR" | tail -n1 | tr -d ' ')
    wanted=$(((held < TARGET_GIB ? TARGET_GIB - held : 0) + REST_GIB))
    [ "$free" -ge "$wanted" ] || die "$CARGO_TARGET_DIR: $free GiB free, a run of every test takes $wanted more" \
        "Free some: $CARGO_TARGET_DIR has $held GiB, of which debug/incremental can go at any time. Or set CARGO_TARGET_DIR to a larger disk."
}

documents() { RUSTDOCFLAGS='-D warnings -A rustdoc::private-intra-doc-links' cargo doc --workspace --no-deps --document-private-items --locked --quiet; }

# The pure crates build where there is no clock, file, socket or thread to reach for.
purity() { cargo build --target wasm32-unknown-unknown --locked --quiet -p nearlight-protocol -p nearlight-session -p nearlight-placement -p nearlight-stream -p nearlight-proof; }

# Types that the browser shares are generated from core/protocol; what is checked in must be that.
generated() {
    local before after
    before=$(content_hash client-web/src/wire core/protocol/vectors core/proof/vectors)
    scripts/generate.sh || return
    after=$(content_hash client-web/src/wire core/protocol/vectors core/proof/vectors)
    [ "$before" = "$after" ] || die "generated files were not up to date" "They are now: look at 'git diff', and add them to the change."
}

dependencies() {
    if cargo deny --version >/dev/null 2>&1; then
        cargo deny --locked check
    else
        warn "cargo-deny is not installed: licences and advisories are not checked"
    fi
}

# with WHAT BESIDE...: runs WHAT while BESIDE runs, and shows what BESIDE said when both are through.
with() {
    local status=0
    said=$(mktemp)
    set -m
    "${@:2}" >"$said" 2>&1 &
    beside=$!
    set +m
    "$1" || status=1
    wait "$beside" || status=1
    beside=''
    cat "$said"
    return $status
}

engine() {
    scripts/docker.sh status >/dev/null && return
    scripts/docker.sh start && engine_is_ours=1
}

# Those that take none of our programs are fetched and unpacked while others compile.
foreign_images() { scripts/images.sh docker freedoom neverball x11 && scripts/images.sh jobs embeddings jupyter llama torchrun ray; }

programs() { scripts/build.sh tests; }

programs_and_images() { with programs foreign_images; }

# Most tests wait for others most of their time: who has the time compiles what else there is.
leftovers() {
    chrt --idle --pid 0 "$BASHPID" || return
    documents && purity && scripts/fuzz.sh build
}

lints() { scripts/check.sh lints; }

tests() { scripts/check.sh tests; }

tests_and_leftovers() { with tests leftovers; }

images() { scripts/images.sh docker calibrate && scripts/images.sh edge; }

end_to_end() {
    export NEARLIGHT_PYTHON
    NEARLIGHT_PYTHON=$(scripts/openai.sh) || return
    (cd e2e && npm ci --no-audit --no-fund --loglevel=error && npm test)
}

clients() { scripts/clients.sh check && scripts/clients.sh test; }

soak() { (cd e2e && SOAK_CYCLES=${SOAK_CYCLES:-10} SOAK_CHURN=${SOAK_CHURN:-0} npm run --silent soak); }

histories() { scripts/history.sh 1 5 --seconds 8; }

api_and_clients() { scripts/schemathesis.sh && clients; }

# Broken regions wait for leases and back-offs most of their time: the broker is asked questions meanwhile.
api_and_histories() { with api_and_clients histories; }

step "room on the disk" room
step "what is missing" scripts/install.sh build run test fuzz
step "a Docker engine" engine
step "programs and tests; images that take nothing of them" programs_and_images
step "lints" lints
step "tests; documentation, purity and fuzz targets beside them" tests_and_leftovers
step "generated files" generated
step "the second verifier of receipts" scripts/second-verifier.sh
step "dependencies" dependencies
step "seeds of the fuzz targets" scripts/fuzz.sh seeds
step "the API against its document, clients; histories, a bounded sample" api_and_histories
step "images of our programs" images
step "end to end" end_to_end
step "soak, a bounded sample" soak
all=${took[*]}
say "seconds: ${all%,}"
say "make test: passed in $(((SECONDS - began) / 60)) min $(((SECONDS - began) % 60)) s"
