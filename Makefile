# Everything runs in .venv, which is created on first use and updated when setup.cfg changes.
# Requires git, make, curl and Python 3.11 or newer with venv. PYTHON=python3.12 chooses an interpreter.

VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
PYTEST = $(BIN)/python -m pytest
# The public worker SDK, in its own environment: tests run workers built with it.
SDK ?= .venv-sdk
SDK_RELEASE = avtomatika-worker==1.0b20
# Libraries that only `make bench` runs, in their own environment.
PEERS ?= .venv-peers
# Minutes of `make soak`.
MINUTES ?= 60

.DEFAULT_GOAL = help
.PHONY: help demo example test check format lint types docs sdk peers faults bench soak clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sort | sed 's/:.*## /\t/' | expand -t 10
	@echo
	@echo "make demo FILE=photo.jpg uses your photo; KEEP=1 leaves everything of it or of an example running until Ctrl-C."
	@echo "Examples: $(patsubst examples/%/client.py,%,$(wildcard examples/*/client.py)); FOLDER=/tmp/new keeps their files."

demo: $(READY) ## Run the photo example from start to end
	@$(BIN)/avtomatika demo $(if $(KEEP),--keep) $(if $(FILE),'$(FILE)')

example: $(READY) ## Run another example from start to end, as in NAME=documents
	@$(BIN)/python examples/run.py $(NAME) $(if $(KEEP),--keep) $(if $(FOLDER),--folder '$(FOLDER)')

test: $(READY) ## Run all tests but the fault-injection tests
	@$(PYTEST) -m 'not faults and not soak' -n 4 --dist loadscope

check: format lint types test ## Run format, lint, types and test: required before a merge

format: $(READY) ## Check the formatting
	@$(BIN)/ruff format --check .

lint: $(READY) ## Run ruff
	@$(BIN)/ruff check .

types: $(READY) ## Run mypy --strict
	@$(BIN)/mypy

docs: $(VENV)/.docs ## Build the site of the documents in site/; fail on broken links
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

sdk: $(SDK)/.ready ## Install the public worker SDK for the tests that need it

peers: $(PEERS)/.ready ## Install the libraries that benchmarks compare with

faults: $(READY) ## Run the fault-injection tests: nothing may be lost or done twice
	@$(PYTEST) -m faults -n 2 --dist loadscope

bench: $(READY) ## Run the benchmarks
	-@$(MAKE) --no-print-directory peers
	@$(BIN)/python benchmarks/workflow.py --with-celery
	@$(BIN)/python benchmarks/cluster.py
	@$(BIN)/python benchmarks/transport.py
	@$(BIN)/python benchmarks/files.py
	@$(BIN)/python benchmarks/worker.py
	@$(BIN)/python benchmarks/tasks.py
	@$(BIN)/python benchmarks/http_api.py
	@$(BIN)/python benchmarks/pages.py

soak: $(READY) ## Run large fault-injection tests for MINUTES=60
	@end=$$(( $$(date +%s) + $(MINUTES) * 60 )); \
	while [ $$(date +%s) -lt $$end ]; do \
		FAULTS_SCALE=10 FAULTS_SEED=$$(date +%s) $(PYTEST) -q -m 'faults or soak' || exit 1; done

clean: ## Remove builds and caches, but not var/
	rm -rf $(VENV) $(SDK) $(PEERS) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*/*' -prune -exec rm -rf {} +

# Touched last, so that an interrupted installation is repeated.
$(READY): setup.cfg pyproject.toml
	@for tool in git curl; do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	if [ -n "$$missing" ]; then \
		echo "missing:$$missing. Get it:  apt install$$missing   or   brew install$$missing" >&2; exit 1; \
	fi
	@python=''; \
	for candidate in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python); do \
		if $$candidate -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			python=$$candidate; break; \
		fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "no Python 3.11 or newer with venv among: $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python)." >&2; \
		echo "Get one:  apt install python3 python3-venv   or   brew install python   and set PYTHON=... to its path." >&2; \
		exit 1; \
	fi; \
	echo "creating $(VENV) with $$($$python --version), which takes a few minutes"; \
	$$python -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded,graphs,history,mcp,demo,otel,dev]'
	@touch $@

$(VENV)/.docs: setup.cfg $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

# Tests that need it are skipped without it.
$(SDK)/.ready: Makefile $(READY)
	@$(BIN)/python -m venv $(SDK)
	@$(SDK)/bin/python -m pip install --quiet --disable-pip-version-check --pre '$(SDK_RELEASE)'
	@touch $@

$(PEERS)/.ready: Makefile $(READY)
	@$(BIN)/python -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check taskiq taskiq-redis 'redis[hiredis]' orjson 'avtomatika[redis]==1.0b30'
	@touch $@
