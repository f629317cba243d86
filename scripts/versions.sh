#!/usr/bin/env bash
# Runs two versions together, as they are while a fleet is upgraded: an old broker with new nodes, and a new broker with
# old nodes. Both ways have to pass the end-to-end files that are named, or lifecycle, reattach, job-ends and failures-roles.
#
#   scripts/versions.sh REV [FILE...]
#
# REV is any revision of this repository, such as the tag of the release that runs. It is built in a checkout and a target
# directory of its own, once: its programs stay in the cache, where the next run finds them. The other version is the
# release build of this checkout (scripts/build.sh), which also has the browser client and `nearlight up` of both ways.
#
#   NEARLIGHT_BEFORE=DIR   programs of REV that are built already
. "$(dirname "$0")/lib.sh"

# Beside a broker, whatever runs on the machines of nodes.
BROKER=(session-broker)
NODE=(edge-node edge-worker edge-prover xwm)
FILES=(lifecycle reattach job-ends failures-roles)

cd "$ROOT"
rev=${1:?usage: versions.sh REV [FILE...]}
shift
[ $# = 0 ] || FILES=("$@")
hash=$(git rev-parse --verify --quiet "$rev^{commit}") || die "$rev is no revision here" "Fetch it, or name another one."
NOW=$CARGO_TARGET_DIR/release
KEPT=$CACHE/versions/$hash
WORK=$CACHE/versions/$hash.work
MIXED=

over() {
    local status=$?
    [ -z "$MIXED" ] || rm -rf "$MIXED"
    if [ -e "$WORK/tree" ]; then git worktree remove --force "$WORK/tree" || true; fi
    exit $status
}
trap over EXIT

# Builds REV's programs, and keeps nothing else of the build.
build() {
    say "building $rev ($hash); its programs stay in $KEPT"
    mkdir -p "$WORK"
    # A run that was killed left it.
    git worktree remove --force "$WORK/tree" 2>/dev/null || true
    rm -rf "$WORK/tree"
    git worktree prune
    git worktree add --quiet --force --detach "$WORK/tree" "$hash"
    (cd "$WORK/tree" && CARGO_TARGET_DIR=$WORK/target cargo build --release --locked --workspace --bins) \
        || die "$rev does not build" "What it has so far is in $WORK/target."
    mkdir -p "$KEPT.new"
    local program
    for program in "${BROKER[@]}" "${NODE[@]}"; do
        cp "$WORK/target/release/$program" "$KEPT.new/"
    done
    mv "$KEPT.new" "$KEPT"
    rm -rf "$WORK/target"
}

# mixed PROGRAM...: this checkout's programs in MIXED, but for these, which are REV's. They find each other beside their
# real path, so links that have one elsewhere would lead back.
mixed() {
    local program
    # Within a function of a condition bash does not stop at a failed command.
    MIXED=$(mktemp -d "$CACHE/versions/mixed.XXXXXX") || die "no directory for the programs"
    find "$NOW" -maxdepth 1 -type f -executable -exec cp --reflink=auto --target-directory "$MIXED" {} + \
        || die "cannot copy the programs of $NOW"
    for program in "$@"; do
        [ -e "$BEFORE/$program" ] || die "$BEFORE has no $program" "Name a later revision, or build it."
        cp --reflink=auto --remove-destination "$BEFORE/$program" "$MIXED/" || die "cannot copy $BEFORE/$program"
    done
}

# together TITLE PROGRAM...: the files with these of REV.
together() {
    local title=$1 status=0
    shift
    mixed "$@"
    say "$title"
    (cd e2e && NEARLIGHT_BIN_DIR=$MIXED npm test --silent -- "${FILES[@]}") || status=1
    rm -rf "$MIXED"
    MIXED=
    [ $status = 0 ] || warn "failed: $title"
    return $status
}

[ -x "$NOW/session-broker" ] || die "$NOW has no programs" "Run scripts/build.sh."
mkdir -p "$CACHE/versions"
BEFORE=${NEARLIGHT_BEFORE:-$KEPT}
[ -n "${NEARLIGHT_BEFORE:-}" ] || [ -d "$KEPT" ] || build
scripts/docker.sh start
scripts/images.sh docker calibrate
scripts/images.sh jobs jupyter
(cd e2e && npm ci --no-audit --no-fund --loglevel=error)
status=0
together "the broker of $rev, nodes of this checkout" "${BROKER[@]}" || status=1
together "the broker of this checkout, nodes of $rev" "${NODE[@]}" || status=1
exit $status
