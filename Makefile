# make demo   see the toolkit at work, from nothing
# make test   everything that must hold before a change goes in
#
# Both set up a virtual environment from pyproject.toml first, and again when that file changes.
# Needed: Python 3.11 to 3.13 with pip, a network the first time, and 12 GB of disk, of which
# the environment keeps 6.

PYTHON ?= python3
VENV ?= .venv

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test venv

demo: $(INSTALLED)
	$(BIN)/compress demo

# Two processes of one thread each: threads of several processes on few cores wait for each other.
test: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/deptry .
	OMP_NUM_THREADS=1 $(BIN)/pytest -q --numprocesses 2 --dist worksteal

venv: $(INSTALLED)

# pip reads dependency groups since 25.1; the one that comes with Python may be older. Of 17,000 modules
# few are ever imported, and those are compiled then.
$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --no-compile --editable ".[frost]" --group test --group lint
	touch $@
