# Everything runs in .venv, which is made at first use and kept until setup.cfg changes.
# What it needs: git, make, curl and Python 3.11 or newer with venv. PYTHON=python3.12 chooses another one.

VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
PYTEST = $(BIN)/python -m pytest
# The public worker SDK: tests run workers built with it, in an environment of its own.
SDK ?= .venv-sdk
SDK_RELEASE = avtomatika-worker==1.0b20
# Minutes of `make soak`.
MINUTES ?= 60

.DEFAULT_GOAL = help
.PHONY: help demo test check format lint types sdk faults bench soak clean

help: ## This list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sort | sed 's/:.*## /\t/' | expand -t 10
	@echo
	@echo "make demo FILE=photo.jpg takes a picture of yours."

demo: $(READY) ## Start everything, run a photo through it, show all there is to see, stop
	@$(BIN)/avtomatika demo $(if $(FILE),'$(FILE)')

test: $(READY) ## All tests but the storms
	@$(PYTEST) -m 'not faults' -n 3 --dist loadscope

check: format lint types test ## Format, lint, types and tests: what must hold before a change lands

format: $(READY) ## Whether the code is formatted
	@$(BIN)/ruff format --check .

lint: $(READY) ## Ruff
	@$(BIN)/ruff check .

types: $(READY) ## Mypy, strict
	@$(BIN)/mypy

sdk: $(SDK)/.ready ## The public worker SDK, for the tests that run workers built with it

faults: $(READY) ## Kill every process in turn: nothing may be lost, nothing done twice
	@$(PYTEST) -m faults

bench: $(READY) ## How fast it is on this machine
	@$(BIN)/python benchmarks/workflow.py --with-celery
	@$(BIN)/python benchmarks/transport.py
	@$(BIN)/python benchmarks/files.py
	@$(BIN)/python benchmarks/worker.py

soak: $(READY) ## The storms again and again, for MINUTES=60
	@end=$$(( $$(date +%s) + $(MINUTES) * 60 )); \
	while [ $$(date +%s) -lt $$end ]; do \
		FAULTS_SCALE=10 FAULTS_SEED=$$(date +%s) $(PYTEST) -q -m faults || exit 1; done

clean: ## Remove what was built or cached; var/ holds data and stays
	rm -rf $(VENV) $(SDK) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*/*' -prune -exec rm -rf {} +

# Written last, so that an interrupted installation is taken up again.
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
		echo "Get one:  apt install python3 python3-venv   or   brew install python   and say PYTHON=... where it is." >&2; \
		exit 1; \
	fi; \
	echo "making $(VENV) with $$($$python --version); this is done once"; \
	$$python -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded,graphs,demo,dev]'
	@touch $@

# Tests skip what needs it where it is not there.
$(SDK)/.ready: Makefile $(READY)
	@$(BIN)/python -m venv $(SDK)
	@$(SDK)/bin/python -m pip install --quiet --disable-pip-version-check --pre '$(SDK_RELEASE)'
	@touch $@
