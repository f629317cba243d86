#!/usr/bin/env bash
# Makes the built-in apps' images, and their root file systems for the sandbox.
#
#   images.sh docker  [APP...]               images nearlight/<app>:1 in the Docker engine
#   images.sh sandbox [--data DIR] [APP...]  root file systems DIR/rootfs/<app>/, where DIR is the
#                                            edge node's data directory (./data/edge)
#   images.sh         [--data DIR] [APP...]  docker where an engine answers, sandbox where not
#   images.sh jobs    [JOB...]               images nearlight/job-<job>:1 of configs/jobs/, in Docker
#   images.sh edge                           the image nearlight/edge:1, a node on Debian 13 (docs/gpu.md), with the
#                                            programs of this release build
#
# APP: freedoom neverball calibrate x11; without any: the catalogue's. JOB: a folder of configs/jobs; without
# any: all but vllm, which is ten gigabytes and needs a GPU.
# Everything carries a stamp of what it was made from: a second run does nothing.
# The Debian release is the host's own where the host is Debian, so that programs built on the host
# find the glibc they were linked with; bookworm where not. NEARLIGHT_SUITE overrides it.
. "$(dirname "$0")/lib.sh"

IMAGES=$ROOT/configs/images
TAG=1
LABEL=dev.nearlight.stamp
SUITE=${NEARLIGHT_SUITE:-$(. /etc/os-release && [ "${ID:-}" = debian ] && echo "${VERSION_CODENAME:-bookworm}" || echo bookworm)}
DEBIAN=debian:$SUITE-slim
DATA=$ROOT/data/edge
JOBS=$ROOT/configs/jobs
# Jobs are of a newer Debian, for its Python.
JOB_SUITE=trixie
STAGE=
trap '[ -z "$STAGE" ] || rm -rf "$STAGE"' EXIT

main() {
    local runtime=
    local apps=()
    if [ "${1:-}" = jobs ]; then shift; make_jobs "$@"; return; fi
    if [ "${1:-}" = edge ]; then make_edge; return; fi
    while [ $# -gt 0 ]; do
        case $1 in
            docker | sandbox) runtime=$1 ;;
            --data) shift; DATA=${1:?--data needs a directory} ;;
            --data=*) DATA=${1#--data=} ;;
            -h | --help) sed -n '2,18s/^# \{0,1\}//p' "$0"; exit 0 ;;
            -*) die "unknown option $1; see images.sh --help" ;;
            *) [ -d "$IMAGES/$1" ] || die "there is no image $1; see configs/images/"; apps+=("$1") ;;
        esac
        shift
    done
    [ ${#apps[@]} -gt 0 ] || mapfile -t apps < <(catalogue)
    if [ -z "$runtime" ]; then
        if docker version >/dev/null 2>&1; then runtime=docker; else runtime=sandbox; fi
    fi
    "make_$runtime" "${apps[@]}"
}

# The catalogue's apps that have an image here.
catalogue() {
    local file
    for file in "$ROOT"/configs/apps/*.toml; do
        file=$(basename "$file" .toml)
        if [ -d "$IMAGES/$file" ]; then echo "$file"; fi
    done
}

# ---- what an image is made of ---------------------------------------------------------------

packages() { cat "$IMAGES/base/packages.txt" "$IMAGES/$1/packages.txt" | sort -u; }
binaries() { if [ -f "$IMAGES/$1/binaries.txt" ]; then cat "$IMAGES/$1/binaries.txt"; fi; }

# binary NAME: path of a program of this workspace.
binary() {
    local path=$NEARLIGHT_BIN_DIR/$1
    [ -x "$path" ] || die "the program $1 is not built" "Run: cargo build --release --locked"
    echo "$path"
}

stamp() {
    local paths=("$IMAGES/base" "$IMAGES/$1") name
    for name in $(binaries "$1"); do paths+=("$(binary "$name")"); done
    echo "$SUITE-$(content_hash "${paths[@]}")"
}

# stage APP: the build context, with programs of this workspace where the image wants them.
stage() {
    local name
    rm -rf "${STAGE:-}"
    STAGE=$(mktemp -d)
    cp -a "$IMAGES/$1/." "$STAGE/"
    mkdir -p "$STAGE/rootfs/usr/bin"
    for name in $(binaries "$1"); do install -m 0755 "$(binary "$name")" "$STAGE/rootfs/usr/bin/$name"; done
    # Everyone may read and enter, whatever the umask of this checkout; nobody but root may write.
    chmod -R u=rwX,go=rX "$STAGE"
}

# ---- docker ---------------------------------------------------------------------------------

make_docker() {
    local app current wanted
    docker version >/dev/null 2>&1 || die "no Docker engine answers" \
        "Start one (scripts/docker.sh start), or make root file systems: scripts/images.sh sandbox"
    for app in base "$@"; do
        wanted=$(stamp "$app")
        current=$(docker image inspect -f "{{index .Config.Labels \"$LABEL\"}}" "nearlight/$app:$TAG" 2>/dev/null || true)
        [ "$current" != "$wanted" ] || continue
        say "image nearlight/$app:$TAG"
        if [ "$app" = base ]; then
            ensure_debian "$SUITE"
            build "$app" "$wanted" "$DEBIAN"
        else
            build "$app" "$wanted" "nearlight/base:$TAG"
        fi
        # What this one replaced has no name any more.
        docker image prune -f --filter "label=$LABEL" >/dev/null
    done
}

# build APP STAMP BASE
build() {
    stage "$1"
    build_stage "nearlight/$1:$TAG" "$2" "$3"
}

# build_stage IMAGE STAMP BASE: from the context in STAGE.
build_stage() {
    local image=$1 wanted=$2 base=$3
    # The classic builder where the client has no buildx: an engine of Debian 12 has no other.
    if ! docker buildx version >/dev/null 2>&1; then export DOCKER_BUILDKIT=0; fi
    docker build -q --build-arg "BASE=$base" --label "$LABEL=$wanted" -t "$image" "$STAGE" >/dev/null 2>"$STAGE.log" \
        || { cat "$STAGE.log" >&2; die "cannot build the image $image"; }
    rm -f "$STAGE.log"
}

# ensure_debian SUITE: the Debian base: here already, from a registry, or made on the spot.
ensure_debian() {
    local image=debian:$1-slim
    if docker image inspect "$image" >/dev/null 2>&1; then return; fi
    if timeout 120 docker pull -q "$image" >/dev/null 2>&1; then return; fi
    say "no registry answers: making $image with mmdebstrap"
    SUITE=$1 bootstrap "$CACHE/rootfs/debian-$1.tar" minbase ""
    docker import "$CACHE/rootfs/debian-$1.tar" "$image" >/dev/null
}

# ---- jobs -----------------------------------------------------------------------------------

make_jobs() {
    local jobs=("$@") job wanted current
    docker version >/dev/null 2>&1 || die "no Docker engine answers" "Start one: scripts/docker.sh start"
    [ ${#jobs[@]} -gt 0 ] || mapfile -t jobs < <(cd "$JOBS" && ls -d */ | tr -d / | grep -vxE 'vllm|shared')
    for job in "${jobs[@]}"; do
        [ -f "$JOBS/$job/Dockerfile" ] || die "there is no job $job; see configs/jobs/"
        wanted=$JOB_SUITE-$(content_hash "$JOBS/$job")
        current=$(docker image inspect -f "{{index .Config.Labels \"$LABEL\"}}" "nearlight/job-$job:$TAG" 2>/dev/null || true)
        [ "$current" != "$wanted" ] || continue
        say "image nearlight/job-$job:$TAG"
        ensure_debian "$JOB_SUITE"
        rm -rf "${STAGE:-}"
        STAGE=$(mktemp -d)
        # Links lead to what recipes have in common, beside their folders.
        cp -aL "$JOBS/$job/." "$STAGE/"
        fetch_wheels "$STAGE"
        chmod -R u=rwX,go=rX "$STAGE"
        build_stage "nearlight/job-$job:$TAG" "$wanted" "debian:$JOB_SUITE-slim"
    done
}

# fetch_wheels CONTEXT: what pip is to install, fetched here: the host may know a mirror, and its
# certificate, that a container does not.
fetch_wheels() {
    [ -f "$1/requirements.txt" ] && have pip || return 0
    pip download --quiet --no-deps --only-binary=:all: --python-version 3.13 \
        --dest "$1/wheels" --requirement "$1/requirements.txt" \
        || die "pip cannot fetch what $1/requirements.txt names; its last words are above"
}

# bootstrap TAR VARIANT PACKAGES: a Debian as a tar file, made once.
bootstrap() {
    local tar=$1 variant=$2 include=$3
    [ ! -s "$tar" ] || return 0
    have mmdebstrap || die "mmdebstrap is missing" "Run: apt-get install mmdebstrap"
    mkdir -p "$(dirname "$tar")"
    mmdebstrap --quiet --format=tar --variant="$variant" ${include:+--include="$include"} \
        --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        "$SUITE" "$tar.part" || die "mmdebstrap cannot make a Debian $SUITE; its last words are above" \
        "It needs a Debian mirror: check the network and /etc/apt."
    mv "$tar.part" "$tar"
}

# ---- edge -----------------------------------------------------------------------------------

# The system is a stage of the recipe; the programs that the recipe would compile are at hand.
make_edge() {
    local programs=(edge-node edge-worker edge-prover) paths=("$IMAGES/edge") name current wanted
    docker version >/dev/null 2>&1 || die "no Docker engine answers" "Start one: scripts/docker.sh start"
    for name in "${programs[@]}"; do paths+=("$(binary "$name")"); done
    wanted=$(content_hash "${paths[@]}")
    current=$(docker image inspect -f "{{index .Config.Labels \"$LABEL\"}}" "nearlight/edge:$TAG" 2>/dev/null || true)
    [ "$current" != "$wanted" ] || return 0
    say "image nearlight/edge:$TAG"
    ensure_debian trixie
    STAGE=$(mktemp -d)
    for name in "${programs[@]}"; do install -m 0755 "$(binary "$name")" "$STAGE/$name"; done
    if ! docker buildx version >/dev/null 2>&1; then export DOCKER_BUILDKIT=0; fi
    docker build -q --target system -t "nearlight/edge-system:$TAG" - <"$IMAGES/edge/Dockerfile" >/dev/null \
        || die "cannot build the stage \`system\` of $IMAGES/edge/Dockerfile"
    printf 'ARG BASE\nFROM ${BASE}\nCOPY %s /usr/local/bin/\n' "${programs[*]}" >"$STAGE/Dockerfile"
    build_stage "nearlight/edge:$TAG" "$wanted" "nearlight/edge-system:$TAG"
}

# ---- sandbox --------------------------------------------------------------------------------

make_sandbox() {
    local app wanted root
    for app in "$@"; do
        [ "$app" != base ] || continue
        wanted=$(stamp "$app")
        root=$DATA/rootfs/$app
        if [ "$(cat "$root.stamp" 2>/dev/null)" = "$wanted" ]; then continue; fi
        say "root file system $root"
        make_root "$app" "$root"
        echo "$wanted" >"$root.stamp"
    done
}

# make_root APP DIR: what the image's Dockerfile does, without a Docker engine. The packages come
# from a tar file that every data directory shares.
make_root() {
    local app=$1 root=$2 include tar
    include=$(packages "$app" | paste -sd,)
    tar=$CACHE/rootfs/$app-$SUITE-$(echo "$include" | sha256sum | cut -c1-16).tar
    bootstrap "$tar" essential "$include"
    stage "$app"
    rm -rf "$root.part" "$root.stamp"
    mkdir -p "$root.part"
    # Device nodes cannot be made without root, and the sandbox brings its own.
    tar -C "$root.part" -xf "$tar" --exclude='./dev/*' --no-same-owner
    cp -a --no-preserve=ownership "$STAGE/rootfs/." "$root.part/"
    echo 'player:x:1000:1000::/home/player:/usr/sbin/nologin' >>"$root.part/etc/passwd"
    echo 'player:x:1000:' >>"$root.part/etc/group"
    mkdir -p "$root.part"/{home/player,run/nearlight,run/user/1000,dev/dri,proc,sys,tmp}
    rm -rf "$root"
    mv "$root.part" "$root"
}

main "$@"
