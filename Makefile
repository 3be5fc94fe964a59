# `make demo` shows the main job, `make test` passes everything. Both install what they need.

CARGO ?= cargo
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
TOOLS := $(CURDIR)/$(TARGET)/tools
export PATH := $(PATH):$(TOOLS)/bin

# zig compiles Lua to WebAssembly; an environment of the project's own, unless TENTERHOOK_ZIG names another.
ZIG := $(if $(TENTERHOOK_ZIG),,$(TOOLS)/zig/ready)

.PHONY: help build demo test test-long bench bench-lambda lint fmt guests nextest cloudevents tools

help:
	@echo 'make tools      what the build needs beside cargo: zig, into $(TARGET)/tools'
	@echo 'make build      the host, release profile: $(TARGET)/release/tenterhook'
	@echo 'make demo       a host, a sink, a hook, an event; then SIGKILL in a burst, and nothing lost'
	@echo 'make test       fmt, clippy, all tests, guests from source, hostile guests, tidy'
	@echo 'make test-long  20 kills, the power-loss model, the public CloudEvents SDKs as producers'
	@echo 'make bench      the benchmark: table, and JSON in target/bench/result.json'
	@echo 'make bench-lambda  an event in Lua, beside native LuaJIT and Lua 5.1: target/bench/lambda.json'
	@echo 'make lint       fmt, clippy, licences'

tools: $(ZIG)

$(TOOLS)/zig/ready: plugins/lua/requirements.txt
	@python3 -c 'import ensurepip, venv' || { echo 'python3 and its module venv are needed: apt-get install python3 python3-venv'; exit 1; }
	@# Cargo marks a target folder only if it makes it; build scripts look for the mark (https://bford.info/cachedir/).
	@mkdir -p $(TARGET) && { test -e $(TARGET)/CACHEDIR.TAG || echo 'Signature: 8a477f597d28d172789f06886806bc55' > $(TARGET)/CACHEDIR.TAG; }
	python3 -m venv $(TOOLS)/zig
	$(TOOLS)/zig/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

build: tools
	$(CARGO) build --release --locked -p tenterhook

demo: build
	$(TARGET)/release/tenterhook demo

# rustfmt and clippy come with the toolchain that rust-toolchain.toml names; the wasm target is installed by host/build.rs.
lint: fmt tools
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked -p tenterhook --all-targets --features test-clock,bench -- -D warnings
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --offline check licenses bans sources; \
	else echo 'cargo-deny is not installed: licences are not checked here (cargo install cargo-deny)'; fi

fmt:
	$(CARGO) fmt --all --check
	cd tests/components && $(CARGO) fmt --all --check

nextest:
	@$(CARGO) nextest --version >/dev/null 2>&1 || $(CARGO) install cargo-nextest --locked --root $(TOOLS)

# The tests drive this binary; the feature adds the admin call that moves its clock.
TEST_BIN := $(TARGET)/debug/tenterhook
test: lint nextest
	$(CARGO) build --locked -p tenterhook --features test-clock
	TENTERHOOK_BIN=$(abspath $(TEST_BIN)) $(CARGO) nextest run --locked --workspace --features tenterhook/test-clock
	$(CARGO) test --locked --doc -p tenterhook-sdk

# The public SDKs for Python and JavaScript, in these versions, below the target folder.
CLOUDEVENTS := $(abspath $(TARGET)/cloudevents)
CLOUDEVENTS_PYTHON := 1.12.0
CLOUDEVENTS_JS := 10.0.0
cloudevents:
	@test -x $(CLOUDEVENTS)/python/bin/python || python3 -m venv $(CLOUDEVENTS)/python
	@$(CLOUDEVENTS)/python/bin/pip install --quiet --disable-pip-version-check cloudevents==$(CLOUDEVENTS_PYTHON)
	@npm install --prefix $(CLOUDEVENTS)/node --no-audit --no-fund --silent cloudevents@$(CLOUDEVENTS_JS)

test-long: nextest tools cloudevents
	$(CARGO) build --locked -p tenterhook --features test-clock
	TENTERHOOK_BIN=$(abspath $(TEST_BIN)) TENTERHOOK_KILLS=20 $(CARGO) nextest run --locked -p tenterhook-tests -E 'test(kill)' --no-capture
	TENTERHOOK_BIN=$(abspath $(TEST_BIN)) TENTERHOOK_CLOUDEVENTS=$(CLOUDEVENTS) $(CARGO) nextest run --locked -p tenterhook-tests -E 'test(cloudevents_sdks)' --no-capture
	TENTERHOOK_POWER_LOSS=1 $(CARGO) nextest run --locked -p tenterhook -E 'binary(power_loss)' --no-capture

bench-lambda: tools
	$(CARGO) build --locked --release -p tenterhook --features bench
	$(CARGO) run --locked --release -p tenterhook-tests --bin bench -- lambda

bench: tools
	$(CARGO) build --locked --release -p tenterhook --features bench
	$(CARGO) run --locked --release -p tenterhook-tests --bin bench
