# Caseway. `make` alone lists what there is.
.DEFAULT_GOAL := help
PY ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

$(STAMP): pyproject.toml constraints.txt
	$(PY) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv with Caseway and everything it needs, pinned

demo: $(STAMP) ## Run the 75,000 USD claim from submission to payment, kill included
	@$(BIN)/caseway demo

test: $(STAMP) ## Run all tests, on a real Kafka and a real PostgreSQL
	CASEWAY_REQUIRE_KAFKA=1 $(BIN)/pytest -q

test-fast: $(STAMP) ## Run the tests that need neither broker nor database
	$(BIN)/pytest -q -m "not long and not kafka and not postgres"

check: lint types floors test ## Everything that CI runs

lint: $(STAMP) ## Style and format
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

floors: $(STAMP) ## Which room may import which
	$(BIN)/lint-imports

sim: $(STAMP) ## Simulate 1,000 cities (SEEDS=n), or replay one and tell its story (SEED=n)
	$(BIN)/python -m tests.sim $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000) --points)

pythons: $(STAMP) ## Hold the digests of a simulated city against those of another Python (OTHER=python3.13)
	$(or $(OTHER),python3.13) -m venv .venv-other
	.venv-other/bin/pip install --quiet --disable-pip-version-check -c constraints.txt .
	PATH="$(CURDIR)/.venv-other/bin:$$PATH" $(BIN)/pytest -q -rs -s tests/sim/test_determinism.py

bugbank: $(STAMP) ## Plant every known kind of defect and count the seeds to its finding (BUG=, SEEDS=)
	$(BIN)/python -m tests.bugbank $(BUG) --seeds $(or $(SEEDS),1000)

schemas: $(STAMP) ## Write schemas/ and the generated tables of docs/ anew
	$(BIN)/python -m caseway_control.schemas

bench: $(STAMP) ## Measure both logs in one run, beside their floors
	$(BIN)/caseway bench

mixed: $(STAMP) ## Roll two versions of every service forward and back on a real Kafka
	CASEWAY_REQUIRE_KAFKA=1 $(BIN)/pytest -q -m long tests/mixed

fairness: $(STAMP) ## Measure how the others fare beside a flood, a broken case and a hog
	CASEWAY_REQUIRE_KAFKA=1 $(BIN)/pytest -q -s -m long tests/acceptance/test_fairness.py

chaos: $(STAMP) ## Torment everything on a real broker: MINUTES=10 CASES=5000 SEED=
	$(BIN)/python -m tests.chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(CASES),--cases $(CASES)) $(if $(SEED),--seed $(SEED))

torn: $(STAMP) ## Try to tear 10,000 transactions with late requests: TRIES= SEED=
	$(BIN)/python -m tests.chaos.torn $(if $(TRIES),--tries $(TRIES)) $(if $(SEED),--seed $(SEED))

up: ## Start the five services with Kafka, PostgreSQL and Prometheus (needs Docker)
	docker compose up --build -d

down: ## Stop them
	docker compose down

clean: ## Remove what was made here
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.PHONY: help install demo test test-fast check lint types floors schemas bench sim pythons bugbank chaos fairness torn mixed up down clean
