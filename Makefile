# `make demo` and `make test` do all set-up by themselves; the other targets build on it.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
READY := $(VENV)/.ready
PYTHON = $(firstword $(foreach name,python3.13 python3.12 python3.11 python3,$(shell \
	$(name) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $(name))))
# One process more than cores, because the longest tests mostly wait for processes that they have killed.
PROCESSES = $(shell $(PYTHON) -c 'import os; print(min(5, (os.cpu_count() or 1) + 1))')
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-header --no-annotate pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help demo up test check chaos fuzz bench figures requirements pre-commit clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY)  ## Show in a minute how gradients vanish and what cures them
	@$(BIN)/gradflow demo

up: $(READY)  ## Run the whole stack on this machine until Ctrl-C
	@$(BIN)/gradflow up

test: $(READY)  ## Run every test, in parallel; PYTEST="…" adds options
	@$(BIN)/python -m pytest --numprocesses $(PROCESSES) --no-loadscope-reorder $(PYTEST)

check: $(READY)  ## Run every static check
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

chaos: $(READY)  ## Inject every fault about a hundred times and write docs/reliability.md (an hour or more)
	@$(BIN)/python -m tests.chaos --count 100 --side-by-side 3
	@$(BIN)/python -m tests.chaos --count 30 --side-by-side 3 --default-settings
	@$(BIN)/python -m tests.chaos --ten-kills
	@$(BIN)/python -m tests.chaos --contrast
	@$(BIN)/python -m tests.chaos --report

fuzz: $(READY)  ## Send thousands of malformed requests to each operation and each reader of files
	@$(BIN)/python -m pytest tests/fuzz --hypothesis-profile=fuzz -s

bench: $(READY)  ## Measure the targets of docs/benchmarks.md
	@$(BIN)/python -m benchmarks

figures: $(READY)  ## Draw the pictures of docs/ again
	@$(BIN)/python -m benchmarks.report.cures
	@$(BIN)/python -m benchmarks.theory runs

requirements:  ## Pin the dependencies again (needs uv)
	$(COMPILE) --extra server -o requirements/api.txt
	$(COMPILE) --extra worker -o requirements/worker.txt
	$(COMPILE) --extra gpu -o requirements/gpu.txt
	$(COMPILE) requirements/build.in --extra local --extra dev -o requirements/dev.txt

pre-commit: $(READY)  ## Run every static check before each commit
	@$(BIN)/pre-commit install

clean:  ## Remove the environment and all caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(INSTALLED): requirements/dev.txt
	@test -n "$(PYTHON)" || { echo "gradflow needs Python 3.11, 3.12 or 3.13; none was found" >&2; exit 1; }
	@echo "setting up $(VENV) with $(PYTHON): a few minutes, once"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

$(READY): $(INSTALLED) pyproject.toml
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@
