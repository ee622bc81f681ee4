# Two commands do everything on a fresh machine: `make quickstart` and `make test`.
# `make` alone lists the targets: a target's line says after `##` what it does.

VENV   ?= .venv
EXTRAS ?= train,gguf,bench,cleanlab,exchange,trainers,ray,slurm,s3,gcs,quantization,duckdb,crowd,dev

# The first interpreter that is new enough, so that an old `python3` in front does not stop anybody.
# Another one: make test PYTHON=/path/to/python
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed

# Overridable, e.g.: make quickstart OUT=/tmp/first   make test ARGS="tests/test_layers.py -x"
OUT  ?= runs/quickstart
ARGS ?=
# Tests run in as many processes as there are cores, a module in one of them. One process: make test WORKERS=0
WORKERS ?= auto

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-lowest test-next check bench bench-triage validate format install clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

quickstart: install ## Fine-tune a small model on the simulated panel, analyse, write the report (OUT=DIR)
	$(BIN)/dissensus quickstart --out $(OUT)

test: install ## Run the tests (ARGS=... goes to pytest)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

# Whether the ranges in pyproject.toml are true. Warnings are shown and are no errors: those of other versions are not ours.
# TORCH: 2.13.0 is the one version with a CPU build on the index that this project is developed with; elsewhere give the
# lowest and the newest (make test-lowest TORCH=2.11.0). A part of the tests: ARGS="tests/models tests/record".
TORCH       ?= 2.13.0
RANGE_EXTRAS := train gguf exchange trainers duckdb
TOOLS       := pytest pytest-timeout pytest-xdist pytest-randomly hypothesis
comma       := ,
space       := $(subst ,, )
RANGE       := .[$(subst $(space),$(comma),$(RANGE_EXTRAS))]
RANGE_TEST  := -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -W default

test-lowest: ## Run the tests on the lowest versions that pyproject.toml allows, in .venv-lowest (TORCH=VERSION, ARGS=...)
	@test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	TORCH=$(TORCH) .ci/lowest $(RANGE_EXTRAS) > .venv-lowest/constraints.txt
	.venv-lowest/bin/python -m pip install --quiet -c .venv-lowest/constraints.txt -e '$(RANGE)' $(TOOLS)
	.venv-lowest/bin/python $(RANGE_TEST) $(ARGS)

test-next: ## Run the tests on the newest versions, pre-releases too, in .venv-next (TORCH=VERSION, ARGS=...)
	@test -x .venv-next/bin/python || $(PYTHON) -m venv .venv-next
	.venv-next/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager --pre torch==$(TORCH) -e '$(RANGE)' $(TOOLS)
	.venv-next/bin/python $(RANGE_TEST) $(ARGS)

check: install ## Lint, formatting, types, and the table of who may import what
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_layers.py tests/test_without_torch.py

validate: install ## How often intervals cover the truth: what is missing of docs/validation.md, some 40 minutes on a core
	OPENBLAS_NUM_THREADS=1 $(BIN)/python validation/coverage.py
	OPENBLAS_NUM_THREADS=1 $(BIN)/python validation/annotators.py

bench: install ## Time tracking, training, a grid and the analysis beside their peers (ARGS="--suite tracking")
	$(BIN)/python -m benchmarks $(ARGS)

bench-triage: install ## Measure triage against people and planted flips (ARGS="--data-dir DATA --runs RUNS/panel")
	$(BIN)/python -m benchmarks.triage $(ARGS)

format: install ## Let ruff format the code and mend what it safely can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

install: $(STAMP) ## Create the environment and install the tested versions; done again when either file changes

# The stamp is written last: an installation that was cut off is done again.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found; name one: make PYTHON=/path/to/python" >&2; exit 2; }
	@test -x $(BIN)/python || { echo "Creating $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

clean: ## Remove the environment and every cache and build output (keeps runs/)
	rm -rf $(VENV) .venv-lowest .venv-next build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
