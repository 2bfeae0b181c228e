# The commands that a newcomer needs. Everything else is `cargo`.
#
#   make demo           a local, real cluster (or $KUBECONFIG) and the main job on it
#   make test           every test: unit, property, CRD and chart checks, end to end
#   make lint           rustfmt, clippy, cargo deny with advisories, generated files
#   make bench          every figure of docs/performance.md
#   make bench-cli      those that need no cluster: the model and kubectl-seccomp beside jq, grep and libseccomp
#   make fuzz           10 million executions of each parser's fuzz target (RUNS=n TARGETS="a b"), and their figures
#   make soak           the long forms of the end-to-end tests, and the installed runtimes' table of privileges measured again
#   make privileges     what runc and crun keep when a filter answers their own calls (RUNTIMES="runc@1.5.3 crun@sid")
#   make runtime-base   whether each runtime starts containers under exactly the calls that are said to be its own (RUNTIMES as above)
#   make test-kernels   recording on Linux 5.10 to the newest, on x86-64 and arm64, in emulated machines (KERNELS="arm64@bookworm")
#   make cli            kubectl-seccomp, one static binary, in target/cli/<processor>/
#   make generate       crds/, deploy/ and the generated pages of docs/
#   make clean-cluster  the local cluster, without traces

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CLUSTER := cargo run --quiet --package portcullis-e2e --bin cluster --
CARGO_DENY_VERSION := 0.20.2
DENY := .tools/bin/cargo-deny
CARGO_FUZZ_VERSION := 0.13.2
FUZZ := .tools/bin/cargo-fuzz
RUNS ?= 10000000

.PHONY: help setup demo test test-unit test-e2e lint advisories bench bench-cli fuzz soak privileges runtime-base test-kernels cli generate cluster image clean-cluster

help:
	@sed -n '3,16p' $(MAKEFILE_LIST) | sed 's/^#   //'

# What cargo itself needs before the harness can install the rest: a linker, libseccomp for the property tests, strace for those of
# its import, a compiler and headers for the eBPF programs, and containers for the tests of recording one and of what runtimes do.
BUILD_PACKAGES := gcc libc6-dev pkg-config libseccomp-dev strace clang libbpf-dev runc crun busybox-static

setup:
	@command -v cargo >/dev/null || { echo 'Portcullis needs a Rust toolchain: no cargo in PATH' >&2; exit 1; }
	@[ -n "$${KUBECONFIG:-}" ] || command -v go >/dev/null || { echo 'Portcullis needs a Go toolchain for the local cluster: no go in PATH' >&2; exit 1; }
	@if ! dpkg --status $(BUILD_PACKAGES) >/dev/null 2>&1; then \
	  [ "$$(id --user)" = 0 ] || { echo 'Not root: run "apt-get install $(BUILD_PACKAGES)" as root first' >&2; exit 1; }; \
	  echo '==> Installing Debian packages: $(BUILD_PACKAGES)'; \
	  apt-get update --quiet=2; \
	  DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends --no-remove $(BUILD_PACKAGES) >/dev/null; \
	fi

cluster: setup
	@$(CLUSTER) up

# On the local cluster, brought up; $KUBECONFIG's has it already, under the name $PORTCULLIS_IMAGE.
image: setup
	@$(CLUSTER) image load

demo: setup
	@cargo run --quiet --package portcullis-e2e --bin demo

test: setup lint test-unit test-e2e

test-unit: setup
	@echo '==> Unit, property, CRD and structure tests'
	cargo test --workspace --exclude portcullis-e2e

test-e2e: image
	@echo '==> End-to-end tests'
	cargo test --package portcullis-e2e --no-fail-fast

lint: $(DENY) advisories
	@echo '==> Format, lints, dependencies'
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	$(DENY) check bans licenses sources

# Part of lint. It says so where the database is not at hand.
advisories: $(DENY)
	@.ci/advisories $(DENY)

$(DENY):
	@echo '==> Building cargo-deny $(CARGO_DENY_VERSION), once'
	cargo install cargo-deny --version $(CARGO_DENY_VERSION) --locked --root .tools

bench: image bench-cli
	cargo bench --package portcullis-probe
	cargo bench --package portcullis-cli --bench record
	cargo run --release --package portcullis-e2e --bin bench

# Needs 2 GB of the temporary directory.
bench-cli: cli
	@command -v jq >/dev/null || { echo 'jq is measured beside it: install it first' >&2; exit 1; }
	cargo bench --package portcullis-profile
	cargo run --quiet --package xtask -- speed $(CLI_DIR)/kubectl-seccomp

# libFuzzer needs a nightly toolchain; the tests of the same properties (`cargo test --test parsers`) don't.
fuzz: $(FUZZ)
	@cargo +nightly --version >/dev/null 2>&1 || \
	  { echo 'make fuzz needs a nightly toolchain: run "rustup toolchain install nightly"' >&2; exit 1; }
	PATH="$(CURDIR)/.tools/bin:$$PATH" fuzz/run.sh $(RUNS) $(TARGETS)
	cargo run --quiet --package xtask -- fuzz-report

$(FUZZ):
	@echo '==> Building cargo-fuzz $(CARGO_FUZZ_VERSION), once'
	cargo install cargo-fuzz --version $(CARGO_FUZZ_VERSION) --locked --root .tools

soak: image
	cargo test --package portcullis-e2e --test soak -- --ignored --nocapture
	cargo test --package portcullis-e2e --test recording_soak -- --ignored --nocapture
	cargo run --package portcullis-runtimes -- privileges --check --depth named --runtime crun@installed --runtime runc@installed

# Needs root, Go with a module proxy, and apt. Without RUNTIMES it takes some hours.
privileges: setup
	cargo run --package portcullis-runtimes -- privileges $(foreach runtime,$(RUNTIMES),--runtime $(runtime))

# As above; some minutes.
runtime-base: setup
	cargo run --package portcullis-runtimes -- base $(foreach runtime,$(RUNTIMES),--runtime $(runtime))

# Needs root, apt and rustup; some ten minutes.
KERNEL_PACKAGES := qemu-system-x86 qemu-system-arm cpio

test-kernels: setup
	@if ! dpkg --status $(KERNEL_PACKAGES) >/dev/null 2>&1; then \
	  [ "$$(id --user)" = 0 ] || { echo 'Not root: run "apt-get install $(KERNEL_PACKAGES)" as root first' >&2; exit 1; }; \
	  echo '==> Installing Debian packages: $(KERNEL_PACKAGES)'; \
	  apt-get update --quiet=2; \
	  DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends --no-remove $(KERNEL_PACKAGES) >/dev/null; \
	fi
	cargo run --quiet --package portcullis-kernels -- $(foreach kernel,$(KERNELS),--kernel $(kernel))

# Static, so that it runs on any Linux of the same processor. Relocations are packed (DT_RELR), which makes it 0.9 MiB smaller.
CLI_TARGET := $(shell uname --machine)-unknown-linux-gnu
CLI_DIR := target/cli/$(patsubst aarch64,arm64,$(patsubst x86_64,amd64,$(shell uname --machine)))

cli: setup
	RUSTFLAGS='-C target-feature=+crt-static' cargo rustc --profile slim --package portcullis-cli --bin kubectl-seccomp --target $(CLI_TARGET) -- \
	  -C link-arg=-Wl,-z,pack-relative-relocs
	install -D --mode 755 target/$(CLI_TARGET)/slim/kubectl-seccomp $(CLI_DIR)/kubectl-seccomp
	@echo '==> $(CLI_DIR)/kubectl-seccomp: put it into a folder of PATH, and "kubectl seccomp" is there'

generate: setup
	HELM="$$($(CLUSTER) tool helm)" cargo run --quiet --package xtask -- codegen

clean-cluster:
	@$(CLUSTER) down
