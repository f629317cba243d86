#!/bin/sh
# The vLLM job with its weights as assets, which nodes fetch by digest, and have ahead where `jobs.prefetch` names the job:
#   configs/jobs/vllm/by-digest.sh FOLDER URL > job.toml
# FOLDER has the model's files as they are served below URL (https), or links to them, as a hub's cache does. Every file is
# read once, for its digest; hidden ones are left out.
set -eu
export LC_ALL=C
folder=${1:?usage: by-digest.sh FOLDER URL} url=${2:?usage: by-digest.sh FOLDER URL}
MODEL=/models/model

die() {
    echo "by-digest.sh: $1" >&2
    exit 1
}

# What `find -L` calls a link leads nowhere: it is read, and is not there.
files=$(CDPATH='' cd -- "$folder" && find -L . -name '.?*' -prune -o \( -type f -o -type l \) -print)
[ -n "$files" ] || die "no file in $folder"
assets=$(
    CDPATH='' cd -- "$folder"
    echo "$files" | sed 's|^\./||' | sort | while IFS= read -r file; do
        case $file in
            *[!A-Za-z0-9._/+=@,~-]*) die "no name for a URL: $file" ;;
        esac
        sum=$(sha256sum <"$file")
        bytes=$(wc -c <"$file")
        printf '\n[[assets]]\nurl = "%s/%s"\ndigest = "sha256:%s"\nsize_mib = %d\npath = "%s/%s"\n' \
            "${url%/}" "$file" "${sum%% *}" $((bytes / 1048576 + 1)) "$MODEL" "$file"
    done
)

# No hub: neither its volume nor a way to it.
awk '/^\[/ { left_out = /^\[(\[volumes\]|egress)\]/ } !left_out' "$(dirname "$0")/job.toml" \
    | sed -e '/^# The weights come from/d' -e 's|^HF_HOME = .*|HF_HUB_OFFLINE = "1"|' \
        -e "s|\"serve\", \"\([^\"]*\)\"|\"serve\", \"$MODEL\", \"--served-model-name\", \"\1\"|"
echo "$assets"
