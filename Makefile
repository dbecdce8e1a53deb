# `make demo` runs the demo; `make test` runs the tests. Both create a virtual environment in .venv.
# RIDES=trips.parquet runs the demo on your trips, HOME_DIR=mine sets its home. PYTHON=... chooses the interpreter (3.11 or 3.12).

SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
CODE := schemas state ledger dataflows api ridecast
CORE := $(CODE) tests/schemas tests/state tests/ledger
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && { echo $$p; break; }; done)

# XGBoost's threads would compete with everything else for the cores. MLflow must not send telemetry.
export OMP_NUM_THREADS ?= 1
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
# Hundreds of processes of the tests import the same modules: what is not compiled yet is compiled once, not by each of them.
export PYTHONDONTWRITEBYTECODE :=

# Workers that run tests at the same time; 0 runs them in one process. Files stay in their order: the longest are not the last.
WORKERS ?= 2
AT_ONCE := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: help demo test core lint bench accuracy faults mutants interop servers constraints wheel clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 14

demo: $(VENV)/ready ## run the whole pipeline on a simulated city, with a page at http://127.0.0.1:8000
	$(BIN)/ridecast demo $(if $(RIDES),--rides "$(RIDES)") $(if $(HOME_DIR),--home "$(HOME_DIR)")

test: lint ## lint and all tests, with real Kafka, PostgreSQL and Redis
	$(BIN)/python -m pytest $(AT_ONCE) --cov --cov-report=term $(if $(ARGS),,--cov-fail-under=95) --durations=15 $(ARGS)

core: $(VENV)/ready-for-tests ## the part that needs no server: PYTHON=python3.12 VENV=.venv-3.12 tries another Python
	$(BIN)/mypy --python-version $$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
	$(BIN)/python -m pytest $(AT_ONCE) -m 'not servers and not bench and not long and not interop' --durations=5 $(CORE) $(ARGS)

lint: $(VENV)/ready-for-tests ## ruff, mypy, import-linter
	$(BIN)/ruff check $(CODE) tests
	$(BIN)/ruff format --check $(CODE) tests
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/ready-for-tests ## measure and print speed
	$(BIN)/python -m pytest tests/bench -m bench -s $(ARGS)

accuracy: $(VENV)/ready-for-tests ## measure accuracy on real rides and print what was asked for; ARGS="april" runs one; takes an hour
	$(BIN)/python -m tests.accuracy $(ARGS)

faults: $(VENV)/ready-for-tests ## the table of faults (docs/faults.md) and all long tests; takes minutes
	$(BIN)/python -m pytest tests -p tests.faults.report -m 'not bench and not interop' -s $(ARGS)

interop: $(VENV)/ready-for-tests ## third-party programs verify our exports and our API; needs Go
	@command -v go > /dev/null || { echo "go is missing: install Go 1.24 or newer (Debian: golang-go)" >&2; exit 1; }
	$(BIN)/python -m pytest tests/interop -m interop -s $(ARGS)

mutants: $(VENV)/ready-for-tests ## mutation tests: small changes that break the code; a test must detect each
	$(BIN)/python -m tests.mutants $(ARGS)

servers: $(VENV)/ready-for-tests ## run Kafka, PostgreSQL and Redis on loopback until Ctrl-C
	$(BIN)/python -m tests.services

wheel: $(VENV)/ready ## build dist/ridecast-*.whl
	$(BIN)/python -m pip wheel -q --no-deps --no-build-isolation -w dist .

$(VENV)/ready: constraints.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is missing: install it, or set PYTHON=/path/to/python" >&2; exit 1; }
	@echo "installing into $(VENV) with $(PYTHON); a minute or two the first time"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
# constraints.txt lists every package. --no-deps: a second resolution by pip fails on newer releases of packages required with extras.
	@sed '/^# --- for tests/,$$d' constraints.txt > $(VENV)/constraints-run.txt
	@$(BIN)/python .ci/install.py "packages to run" --require-hashes --no-deps -r $(VENV)/constraints-run.txt
	$(BIN)/python -m pip check -q
	@$(BIN)/python .ci/install.py "ridecast" --no-deps --no-build-isolation -e .
	@$(BIN)/python .ci/compile_used.py
	@touch $@

$(VENV)/ready-for-tests: $(VENV)/ready
	@$(BIN)/python .ci/install.py "packages for tests" --require-hashes --no-deps -r constraints.txt
	$(BIN)/python -m pip check -q
	@$(BIN)/python .ci/compile_used.py pytest hypothesis coverage httpx xdist
	@touch $@

# uv (its own package) resolves once for both Python versions; CI installs with pip.
RESOLVE := uv pip compile pyproject.toml --universal --fork-strategy fewest --python-version 3.11 --no-emit-index-url --no-header --no-annotate -q
constraints: ## rebuild constraints.txt from pyproject.toml; needs uv
	$(RESOLVE) --upgrade --all-extras --generate-hashes -o $(VENV)/constraints-all.txt
	$(RESOLVE) --extra build -c $(VENV)/constraints-all.txt -o $(VENV)/constraints-run.txt
	$(BIN)/python .ci/split_constraints.py $(VENV)/constraints-all.txt $(VENV)/constraints-run.txt > $(VENV)/constraints.new
	mv $(VENV)/constraints.new constraints.txt

clean: ## remove .venv, .venv-3.12, dist and caches, but no data
	rm -rf $(VENV) .venv-3.12 dist build .coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
