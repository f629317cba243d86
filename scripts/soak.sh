#!/usr/bin/env bash
# `make soak`: cycles and hours. Without a suite, all of them.
#
#   scripts/soak.sh visits       browsers and native viewers come and go (e2e/src/soak.ts)
#   scripts/soak.sh jobs         SOAK_CYCLES (500) jobs come and go while broker, agent and an engine of their own are
#                                killed (e2e/src/soak-jobs.ts), and 1 GiB goes up and down with flat memory
#   scripts/soak.sh api          made-up requests to every route of the API's own document
#   scripts/soak.sh days         SOAK_DAYS (3) days of 100,000 nodes on a virtual clock, from SOAK_SEED (1) on
#   scripts/soak.sh proofs       the legs of a proof of capacity on every GPU here, PROOF_SEEDS (1000) seeds against the oracle
#   scripts/soak.sh histories    SOAK_SEEDS (1000) regions of brokers break and are checked, from SOAK_SEED (1) on
. "$(dirname "$0")/lib.sh"

cd "$ROOT"

visits() {
    scripts/docker.sh start && scripts/images.sh docker || return
    (cd e2e && npm ci --no-audit --no-fund --loglevel=error && npm run --silent soak)
}

jobs() {
    scripts/docker.sh start && scripts/images.sh jobs jupyter || return
    (cd e2e && npm ci --no-audit --no-fund --loglevel=error \
        && ../scripts/engine.sh --image nearlight/job-jupyter:1 -- npm run --silent soak-jobs) || return
    NEARLIGHT_BULK_MIB=${NEARLIGHT_BULK_MIB:-1024} cargo nextest run --release --locked -p edge-node --test tunnel \
        --success-output final -E 'test(a_body_without_an_end) + test(an_upload_is_as_large)'
}

api() { SCHEMATHESIS_EXAMPLES=${SCHEMATHESIS_EXAMPLES:-1000} scripts/schemathesis.sh; }

proofs() { NEARLIGHT_PROOF_SEEDS=${PROOF_SEEDS:-1000} cargo nextest run --release --locked -p edge-prover; }

histories() { scripts/history.sh "${SOAK_SEED:-1}" "${SOAK_SEEDS:-1000}"; }

days() {
    local seed first=${SOAK_SEED:-1}
    for ((seed = first; seed < first + ${SOAK_DAYS:-3}; seed++)); do
        "$CARGO_TARGET_DIR/release/loadtest" day --nodes 100000 --hours 24 --seed "$seed" || return
    done
}

scripts/install.sh build run test
scripts/build.sh
case ${1:-all} in
    visits) visits ;;
    histories) histories ;;
    days) days ;;
    api) api ;;
    jobs) jobs ;;
    proofs) proofs ;;
    all) api && jobs && days && histories && proofs && visits ;;
    *) die "no suite \`$1\`" "Take visits, histories, jobs, days, proofs or api." ;;
esac
