# Targets that people type; the work is in scripts/. Every target can be run again: what is up to
# date is not done twice.
#
#   YES=1                 installs without asking
#   CARGO_TARGET_DIR=DIR  build outputs (default ~/.cache/nearlight/target, shared by checkouts)

SHELL := /bin/bash
CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/nearlight/target
export CARGO_TARGET_DIR
export NEARLIGHT_BIN_DIR = $(CARGO_TARGET_DIR)/release

.DEFAULT_GOAL := help
.PHONY: help play test check doctor gpu-check soak versions bench fuzz generate fmt images

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

play: ## build and start everything; ARGS="--listen 127.0.0.1:9000 --data /tmp/x" go to nearlight up
	@scripts/play.sh $(ARGS)

test: ## everything that a change must pass
	@scripts/test.sh

check: ## format, lints and unit tests: no root, no Docker
	@scripts/check.sh

doctor: ## list what this machine lacks; changes nothing
	@scripts/doctor.sh

gpu-check: ## say as JSON what a GPU of this machine can be used for, and what keeps it from more
	@scripts/gpu-check.sh

soak: ## visits, jobs, histories, simulated days and the API against its document, without end; SUITE=visits, jobs, histories, days, proofs or api for one; PROOF_SEEDS=1000; SOAK_DAYS=3, SOAK_CYCLES=50, SOAK_HOURS, SOAK_SEED, SOAK_CHURN=10000, SOAK_CHURN_MINUTES=30, SOAK_SEEDS=1000
	@scripts/soak.sh $(SUITE)

versions: ## run a broker of REV=TAG with nodes of this checkout, and the other way round, in the end-to-end tests; FILES="lifecycle reattach" for some
	@scripts/install.sh build run test && scripts/build.sh && scripts/versions.sh $(REV) $(FILES)

bench: ## measure, print a table, write target/bench/report.json, fail if an aim is missed; SUITE=play for one suite; AIMS=report never to fail for one
	@scripts/install.sh build run test && scripts/build.sh && scripts/docker.sh start && scripts/images.sh docker
	@cd e2e && npm ci --no-audit --no-fund --loglevel=error && SUITE=$(SUITE) npm run --silent bench

fuzz: ## run each fuzz target for FUZZ_SECONDS=20; TARGETS="stun notice" for some
	@scripts/install.sh build fuzz && scripts/fuzz.sh run $(TARGETS)

generate: ## write the files that are derived from core/protocol
	@scripts/generate.sh

fmt: ## format the Rust code
	@cargo fmt --all && cargo fmt --manifest-path fuzz/Cargo.toml

images: ## make the built-in apps' images (or root file systems, without a Docker engine)
	@scripts/build.sh && scripts/images.sh
