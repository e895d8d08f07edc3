# Every target makes .venv and installs what it needs by itself, with the versions of constraints.txt.
# Stamps carry a checksum of pyproject.toml and constraints.txt, so a target whose requirements stand starts at once.

PYTHON ?= python3
SEEDS ?= 100
VENV := .venv
BIN := $(VENV)/bin
REQUIREMENTS := $(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
RUNTIME := $(VENV)/.stamps/runtime-$(REQUIREMENTS)
DEV := $(VENV)/.stamps/dev-$(REQUIREMENTS)
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt

export DO_NOT_TRACK := 1
export DAFT_ANALYTICS_ENABLED := 0
export HF_HUB_OFFLINE := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export RAY_USAGE_STATS_ENABLED := 0
export TOKENIZERS_PARALLELISM := false

.DEFAULT_GOAL := help
.PHONY: demo test lint format bench calibrate docs clean help

demo: $(RUNTIME) ## run the audit on data with a known answer and write a report (no network, no GPU)
	$(BIN)/assaymark demo

test: $(DEV) ## run all tests, on all cores; narrow with ARGS="tests/stats -k wilson"
	$(BIN)/python -m pytest -q --durations=10 --numprocesses=logical --maxprocesses=8 --dist=loadfile $(ARGS)

lint: $(DEV) ## style, formatting, import directions, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(DEV) ## rewrite the files as lint wants them
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: $(DEV) ## speed and fidelity against named peers, one table; QUICK=1 for small sizes
	$(BIN)/python -m benchmarks $(if $(filter-out 0,$(QUICK)),--quick) $(ARGS)

calibrate: $(RUNTIME) ## truth against estimate for every audit over SEEDS (100) planted inputs
	@for audit in $$($(BIN)/python -c 'from assaymark.catalog import AUDITS; print(*AUDITS)'); do \
	  echo "$(BIN)/assaymark calibrate $$audit --seeds $(SEEDS)"; \
	  $(BIN)/assaymark calibrate $$audit --seeds $(SEEDS) || exit 1; \
	done

docs: $(DEV) ## build the documentation into build/docs; a broken link fails
	$(BIN)/mkdocs build --strict --quiet --site-dir build/docs
	@echo "build/docs/index.html"

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "assaymark needs Python 3.11 or later; name one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): | $(BIN)/python
	@echo "installing assaymark and its extras into $(VENV) (minutes, once)"
	$(INSTALL) --upgrade pip
	$(INSTALL) --editable '.[all]'
	@rm -rf $(@D) && mkdir -p $(@D) && touch $@

$(DEV): $(RUNTIME)
	$(INSTALL) --group dev
	@touch $@
