# Every command of the project. CI types the same ones.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
SYSTEM := .venv/.system
CATALOGUE := src/aigenflow/locale/ko/LC_MESSAGES/messages.po
TOPIC ?= Subscription meal kits for people with diabetes
# Tests of the program as a process wait more than they compute.
WORKERS ?= $(shell expr 2 \* $$(nproc))
COOLDOWN ?= 7 days

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

$(READY): pyproject.toml hatch_build.py requirements/dev.txt $(CATALOGUE)
	$(PYTHON) -m venv .venv || { apt-get update && apt-get install -y python3-venv && $(PYTHON) -m venv .venv; }
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(SYSTEM): tests/system_packages.sh $(READY)
	tests/system_packages.sh
	@touch $@

.PHONY: install
install: $(READY) ## Install the program and everything it is developed with into .venv

.PHONY: demo
demo: $(READY) ## Write a document, with whatever is there: keys, a local server, or nothing at all
	$(BIN)/aigenflow run --topic "$(TOPIC)"

.PHONY: test
test: $(READY) $(SYSTEM) ## Run the tests
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

.PHONY: test-fast
test-fast: $(READY) $(SYSTEM) ## Run the tests that take less than a few seconds each
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not slow"

.PHONY: test-postgres
test-postgres: $(READY) ## Run the tests of stores, ledger, jobs and fleet on a PostgreSQL of their own
	tests/with_postgres.sh $(BIN)/pytest -q tests/cache/backends/test_sql.py \
		tests/monitoring/test_tracker.py tests/batch/test_job_store.py tests/engine/test_fleet.py \
		tests/gateway/test_shared_limits.py tests/core/test_db_postgres.py \
		tests/dashboard/test_fleet_sessions.py tests/e2e/test_fleet_dashboard.py
	tests/with_postgres.sh $(BIN)/pytest -q tests/e2e/test_fleet.py

.PHONY: test-long
test-long: $(READY) $(SYSTEM) ## Run the crash, concurrency and money tests at full length (two hours)
	AIGENFLOW_TEST_PAIRS=10000 AIGENFLOW_TEST_CALLS=10000 AIGENFLOW_TEST_HAMMER_STEPS=10000 AIGENFLOW_TEST_CRASH_TRIALS=1000 \
		$(BIN)/pytest -q --timeout 1800 tests/cache tests/monitoring
	AIGENFLOW_TEST_CRASH_TRIALS=50 $(BIN)/pytest -q --timeout 300 tests/e2e/test_batch_jobs.py -k killed

.PHONY: test-soak
test-soak: $(READY) ## Write 2,000 documents while one call in five goes wrong (an hour)
	AIGENFLOW_TEST_SOAK=2000 $(BIN)/pytest -q -n $(WORKERS) tests/e2e/test_soak.py

.PHONY: mutation
mutation: $(READY) ## Change each decision about cache and money, and see whether a test notices
	AIGENFLOW_TEST_PAIRS=30 $(BIN)/mutmut run
	$(BIN)/mutmut results

.PHONY: coverage
coverage: $(READY) $(SYSTEM) ## Run the tests and say which lines and branches they reach
	$(BIN)/pytest -n $(WORKERS) --dist worksteal --cov --cov-report=term --cov-fail-under=85

.PHONY: lint
lint: $(READY) ## Check style and likely mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: format
format: $(READY) ## Put the style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: types
types: $(READY) ## Check the types
	$(BIN)/mypy

.PHONY: layers
layers: $(READY) ## Check that imports point downwards only
	$(BIN)/lint-imports

.PHONY: messages
messages: $(READY) ## Collect the messages for translation into the Korean catalogue and compile it
	$(BIN)/pybabel --quiet extract -F pyproject.toml --no-location --sort-output -o /tmp/aigenflow.pot \
		src .venv/lib/python3.*/site-packages/click
	$(BIN)/pybabel --quiet update --no-fuzzy-matching --ignore-obsolete \
		--ignore-pot-creation-date --no-wrap -l ko -i /tmp/aigenflow.pot -o $(CATALOGUE)
	rm -f /tmp/aigenflow.pot
	$(BIN)/python hatch_build.py
	@touch $(READY)

.PHONY: docs
docs: $(READY) ## Build the documentation, warnings as errors
	$(BIN)/mkdocs build --strict --quiet

.PHONY: wheel
wheel: $(READY) ## Build the wheel and use it in a clean environment
	rm -rf dist
	$(BIN)/python -m build --quiet --no-isolation --wheel
	$(BIN)/python tests/wheel.py dist/*.whl

.PHONY: extras
extras: wheel ## Say how large each extra is, installed from the wheel
	$(BIN)/python tests/wheel.py dist/*.whl --extras

.PHONY: sbom
sbom: $(READY) ## Write the bill of materials: every package with its hashes, as CycloneDX
	mkdir -p dist
	$(BIN)/uvx --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements requirements/run.txt \
		--pyproject pyproject.toml --output-reproducible -o dist/aigenflow.cdx.json

.PHONY: licences
licences: $(READY) ## List the licences of all dependencies in docs/licences.md
	AIGENFLOW_TEST_UPDATE=1 $(BIN)/pytest -q tests/docs/test_licences.py

.PHONY: lock
lock: $(READY) ## Pin every dependency anew, with hashes, no index named, nothing younger than a week
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --quiet --upgrade --exclude-newer "$(COOLDOWN)" \
		-o requirements/run.txt
	$(BIN)/uv pip compile pyproject.toml --group dev --all-extras --universal \
		--python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
		--upgrade --exclude-newer "$(COOLDOWN)" -o requirements/dev.txt

.PHONY: clean
clean: ## Remove what was built
	rm -rf .venv build dist site mutants .coverage* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
