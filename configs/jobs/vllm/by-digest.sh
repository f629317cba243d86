#!/bin/sh
# The vLLM job with its weights as assets, which nodes fetch by digest, and have ahead where `jobs.prefetch` names the job:
#   configs/jobs/vllm/by-digest.sh FOLDER URL > job.toml
# FOLDER has the model's files as they are served below URL (https). Every file is read once, for its digest.
set -eu
folder=${1:?usage: by-digest.sh FOLDER URL} url=${2:?usage: by-digest.sh FOLDER URL}
MODEL=/models/model

# No hub: neither its volume nor a way to it.
awk '/^\[/ { left_out = /^\[(\[volumes\]|egress)\]/ } !left_out' "$(dirname "$0")/job.toml" \
    | sed -e '/^# The weights come from/d' -e 's|^HF_HOME = .*|HF_HUB_OFFLINE = "1"|' \
        -e "s|\"serve\", \"\([^\"]*\)\"|\"serve\", \"$MODEL\", \"--served-model-name\", \"\1\"|"
cd "$folder"
find . -type f | sed 's|^\./||' | sort | while IFS= read -r file; do
    digest=$(sha256sum <"$file" | cut -d ' ' -f 1)
    bytes=$(($(wc -c <"$file")))
    printf '\n[[assets]]\nurl = "%s/%s"\ndigest = "sha256:%s"\nsize_mib = %d\npath = "%s/%s"\n' \
        "${url%/}" "$file" "$digest" $((bytes / 1048576 + 1)) "$MODEL" "$file"
done
