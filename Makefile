# Everything a newcomer, a developer and CI run. `make help` lists it.
.DEFAULT_GOAL := help
.PHONY: help demo test test-as-root check bench chaos chaos-minute screenshots format lock programs

PYTHON ?= python3
BIN := .venv/bin
PIP := $(PYTHON) -m pip --python $(BIN)/python --disable-pip-version-check --quiet
SOURCES := gateway writer fanout api shared deploy tests
# Bytecode is kept whatever the shell says: the tests start hundreds of interpreters, and each would compile all it needs.
export PYTHONDONTWRITEBYTECODE =

help:  ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/ready  ## run the whole pipeline here, with a simulated race
	@$(BIN)/rt-server up --demo

# Four more than there are cores: tests wait for processes, and for time to pass, half of the time.
WORKERS ?= $(shell echo $$(($$(nproc) + 4)))
test: .venv/ready .venv/programs/ready  ## run all tests
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal

check: .venv/ready  ## what CI runs: format, lint, types, import walls, tests, a minute of chaos
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory chaos-minute

MINUTES ?= 5
chaos: .venv/ready  ## break everything at random for MINUTES=5, and hold it to every promise; SEED=n repeats a run
	@$(BIN)/python -m tests.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# After the tests, alone. A machine that checks is often a busy one: its bounds in time are wider, no other is.
chaos-minute: .venv/ready
	@$(BIN)/python -m tests.chaos --minutes 1 --seed 16667 --patience 4

ROUNDS ?= 5
bench: .venv/ready  ## measure speed: a table, .bench/results.json and curves as SVG; ROUNDS=5
	@$(PIP) install --require-hashes --no-deps --requirement deploy/bench.txt
	@$(BIN)/python -m tests.bench --plots --rounds $(ROUNDS)

screenshots: .venv/ready  ## pictures of the dashboard's main states, in .screenshots/
	@$(BIN)/pytest -q tests/dashboard/screenshots.py

format: .venv/ready  ## format the code and mend what the linter can
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix $(SOURCES)

# uv, because it locks for all Pythons and machines at once.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	pyproject.toml $(UPGRADE:%=--upgrade-package %)
lock: .venv/ready  ## bring the locked versions in line with pyproject.toml; UPGRADE=aiohttp takes its newest
	@$(PIP) install uv==0.13.8
	@$(LOCK) --extra local --extra dev --extra image --output-file deploy/constraints.txt
	@$(LOCK) --extra bench --constraint deploy/constraints.txt --output-file deploy/bench.txt
	@$(LOCK) --extra image --constraint deploy/constraints.txt --output-file deploy/image.txt

# `venv --without-pip` and `pip --python` need no ensurepip, which Debian ships in a package of its own.
.venv/ready: pyproject.toml deploy/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rt-server needs Python 3.11 or newer")'
	@echo "setting up .venv (once, about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv --without-pip .venv
	@$(PIP) install --require-hashes --no-deps --requirement deploy/constraints.txt
	@$(PIP) install --no-index --no-deps --no-build-isolation --editable .
	@$(PIP) check || (echo "deploy/constraints.txt lacks what pyproject.toml asks for: make lock" && false)
	@touch $@

# What no wheel brings (tests/programs.py). Tried once; without it some tests are skipped, and say so.
.venv/programs/ready: | .venv/ready
	@$(BIN)/python -m tests.programs

# Those are skipped for anybody else: containers, small disks, directories that are closed to Postgres' user.
test-as-root: .venv/ready  ## run with sudo what only root can: tests in containers, on small disks
	@sudo $(BIN)/pytest $(shell grep -rl AS_ROOT tests/*/test_*.py)

programs: .venv/ready  ## fetch what tests need besides: nginx, promtool and the like, unpacked into .venv
	@$(BIN)/python -m tests.programs
