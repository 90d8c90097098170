# Everything a person or CI runs. `make` alone explains itself.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup packages demo lab soak test sim mutants check fmt bench docs lock dist clean

help: ## Print what each target does
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: packages $(STAMP) ## Install all that the other targets need, Debian packages included
	@$(BIN)/python -m tests.lab.binaries
	@$(BIN)/python -m tests.lab.helm

packages:
	@$(PYTHON) -m tests.lab.packages

$(STAMP): requirements.lock pyproject.toml
	@echo "setup: Python packages of requirements.lock into $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "extip needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## Bring a real cluster up in namespaces and show extip at work on it
	@$(BIN)/python -m tests.demo

lab: setup ## Leave a cluster in namespaces up, with extip in it, for a person to play with
	@$(BIN)/python -m tests.lab

soak: setup ## Let chaos happen to a cluster for MINUTES=5, and explain every outage (SEED=, OUT=)
	@$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),5) $(addprefix --seed ,$(SEED)) $(addprefix --out ,$(OUT))

test: setup ## Run every test: unit, contract, namespaces, and the real cluster
	@$(BIN)/python -m tests

mutants: setup ## Break the program in many small ways, one by one: a test must notice each
	@$(BIN)/python -m tests.mutants

sim: setup ## Simulate whole clusters and their faults: SEEDS=n histories, or SEED=k alone (LOG=1)
	@$(BIN)/python -m tests.simulation

check: packages $(STAMP) ## Check format, lint, types, import contracts and known vulnerabilities
	@$(BIN)/ruff format --check extip tests
	@$(BIN)/ruff check extip tests
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m tests.meta.audit

fmt: $(STAMP) ## Format the code and mend what the linter can
	@$(BIN)/ruff format extip tests
	@$(BIN)/ruff check --fix extip tests

bench: setup ## Measure against named baselines in the same run
	@$(BIN)/python -m tests.bench

docs: $(STAMP) ## Make the site of docs/ in dist/docs
	@$(BIN)/python -m sphinx --quiet --fail-on-warning --builder html docs dist/docs
	@echo "docs: open dist/docs/index.html"

lock: $(STAMP) ## Choose the newest allowed versions anew and write requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --quiet --upgrade -o requirements.lock

dist: $(STAMP) ## Build wheel, sdist and the list of components (CycloneDX) into dist/
	@$(BIN)/python -m hatchling build --directory dist
	@$(BIN)/python -m tests.meta.sbom > dist/extip.cdx.json

clean: ## Remove what the tools left in this tree (built Kubernetes stays in the user's cache)
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage dist
	@find extip tests -name __pycache__ -type d -prune -exec rm -rf {} +
