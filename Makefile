# make demo: the main job. make test: the tests. Both do all their set-up.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JS := tests/support/js
# Much of a test's time is waiting for containers and slots: two processes, one engine and one validator between them.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadgroup

.PHONY: help demo test test-fast lint types contracts check bench soak simulate program program-check soak-program fuzz-program clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11: install a newer one, or name it: make PYTHON=python3.12 ..." >&2; exit 1; }
	@if ! $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "Debian's python3-venv is missing: installing it"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null; \
	  else \
	    echo "Python's venv module is incomplete here. Type: sudo apt-get install -y python3-venv" >&2; exit 1; \
	  fi; \
	fi
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "Installing hypernode-worker into $(VENV) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	@echo "Installing hypernode-worker and its development tools into $(VENV) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.installed

# The JavaScript clients that check our localnet and IDL; without npm their tests are skipped.
$(JS)/node_modules/.installed: $(JS)/package-lock.json
	@if command -v npm >/dev/null; then \
	  echo "Installing the JavaScript clients that the tests drive ..."; \
	  npm ci --prefix $(JS) --silent --ignore-scripts --no-audit --no-fund && touch $@; \
	fi

demo: $(VENV)/.installed ## a job posted, run and paid on a local chain
	@$(BIN)/hypernode-worker demo $(ARGS)

test: $(VENV)/.installed-dev $(JS)/node_modules/.installed ## all tests that this machine can run
	@$(PYTEST) $(ARGS)

test-fast: $(VENV)/.installed-dev ## unit, contract and program tests
	@$(PYTEST) tests/unit tests/contract tests/program $(ARGS)

lint: $(VENV)/.installed-dev ## style
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/.installed-dev ## strict types
	@$(BIN)/basedpyright

contracts: $(VENV)/.installed-dev ## imports point one way
	@$(BIN)/lint-imports

check: lint types contracts ## lint, types, contracts

bench: $(VENV)/.installed-dev ## the speed table, into build/bench.json
	@$(BIN)/python -m tests.bench $(ARGS)

soak: $(VENV)/.installed-dev ## kills and load: nothing lost, nothing paid twice; into build/soak.json
	@$(BIN)/python -m tests.soak $(ARGS)

simulate: $(VENV)/.installed-dev ## the claim window with up to 10,000 nodes, into build/simulate.json
	@$(BIN)/python -m tests.simulate $(ARGS)

soak-program: $(VENV)/.installed-dev ## random histories of the program: STEPS=100000 SEED=any
	@$(BIN)/python -m tests.program.soak $(if $(STEPS),--steps $(STEPS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

program: ## rebuild the on-chain program with the tools on PATH
	@programs/build.sh

program-check: ## rebuild it and compare with the one that ships
	@programs/build.sh --check

fuzz-program: $(VENV)/.installed-dev ## random calls of the program, for ten minutes
	@HYPERNODE_TEST_FUZZ_S=$${HYPERNODE_TEST_FUZZ_S:-600} $(BIN)/python -m pytest -n 0 -s tests/program/test_fuzz.py $(ARGS)

clean: ## all that these commands made
	@rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache $(JS)/node_modules
