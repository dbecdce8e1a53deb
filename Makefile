# `make demo` shows Ridecast at work; `make test` checks it. Both make their own virtual environment in .venv.
# RIDES=trips.parquet lets the demo run on your trips, HOME_DIR=mine keeps it there. PYTHON=... chooses the interpreter (3.11 or 3.12).

SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
CODE := schemas state ledger dataflows api ridecast
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && { echo $$p; break; }; done)

# XGBoost's threads fight over two cores with everything else; MLflow must not call home.
export OMP_NUM_THREADS ?= 1
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true

.PHONY: help demo test lint bench faults mutants interop servers constraints wheel clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 14

demo: $(VENV)/ready ## a city's rides through the whole pipeline, with a page at http://127.0.0.1:8000
	$(BIN)/ridecast demo $(if $(RIDES),--rides "$(RIDES)") $(if $(HOME_DIR),--home "$(HOME_DIR)")

test: lint ## everything, with real Kafka, PostgreSQL and Redis
	$(BIN)/python -m pytest --cov --cov-report=term --durations=15 $(ARGS)

lint: $(VENV)/ready ## ruff, mypy, import rows
	$(BIN)/ruff check $(CODE) tests
	$(BIN)/ruff format --check $(CODE) tests
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/ready ## speed, printed
	$(BIN)/python -m pytest tests/bench -m bench -s $(ARGS)

faults: $(VENV)/ready ## kills and faults, minutes long
	$(BIN)/python -m pytest tests -m long -s $(ARGS)

interop: $(VENV)/ready ## other people's programs verify our exports and our API; needs Go
	@command -v go > /dev/null || { echo "go is missing: install Go 1.24 or newer (Debian: golang-go)" >&2; exit 1; }
	$(BIN)/python -m pytest tests/interop -m interop -s $(ARGS)

mutants: $(VENV)/ready ## break the code in small ways; each must be noticed
	$(BIN)/python -m tests.mutants $(ARGS)

servers: $(VENV)/ready ## Kafka, PostgreSQL and Redis on loopback until Ctrl-C
	$(BIN)/python -m tests.services

wheel: $(VENV)/ready ## dist/ridecast-*.whl
	$(BIN)/python -m pip wheel -q --no-deps --no-build-isolation -w dist .

$(VENV)/ready: constraints.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is missing: install it, or say PYTHON=/its/path" >&2; exit 1; }
	@echo "installing into $(VENV) with $(PYTHON); a minute or two the first time"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
# The file is the whole answer: pip, asked to resolve again, trips over newer releases of what others want with an extra.
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r constraints.txt
	$(BIN)/python -m pip check -q
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# uv (from its own package) resolves once for both Pythons; CI installs with pip.
constraints: ## constraints.txt anew from pyproject.toml; needs uv
	uv pip compile pyproject.toml --upgrade --all-extras --universal --fork-strategy fewest --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --no-annotate -q -o $(VENV)/constraints.txt
	{ sed -n '/^#/p' constraints.txt; cat $(VENV)/constraints.txt; } > $(VENV)/constraints.new
	mv $(VENV)/constraints.new constraints.txt

clean: ## remove .venv, dist and caches; never your data
	rm -rf $(VENV) dist build .coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
