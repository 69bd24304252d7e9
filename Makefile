# Everything lives in .venv; each goal does all the set-up it needs, and skips what is already done.
# The stamps stand inside .venv, so that removing it removes them.

PYTHON  ?= python3
WORKERS ?= 2
DEMO    ?= demo

BIN  := .venv/bin
PIP  := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
CORE := .venv/.installed-core
TEST := .venv/.installed-test

.PHONY: help install demo test lint style types layers clean
.DEFAULT_GOAL := help

help: ## say what each goal does
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

install: $(TEST) ## create .venv and install hubbleflow, its tests' tools included

demo: $(CORE) ## install the core and run the whole road: mock sky, generator, galaxies, report
	$(BIN)/hubbleflow demo --out $(DEMO)

test: $(TEST) ## install and run every test
	$(BIN)/python -m pytest -n $(WORKERS)

lint: style types layers ## style, types and the layers of the house

style: $(TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(TEST)
	$(BIN)/mypy

layers: $(TEST)
	$(BIN)/lint-imports --no-logo

clean: ## remove .venv, caches and the demo's output
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis dist $(DEMO)

$(BIN)/python:
	$(PYTHON) -m venv .venv

# constraints.txt pins torch, so that pip takes the one that was tested and nothing newer.
$(CORE): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing hubbleflow into .venv (a few minutes, once)"
	$(PIP) -e .
	@touch $@

$(TEST): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing hubbleflow and its tests' tools into .venv (a few minutes, once)"
	$(PIP) -e '.[test]'
	@touch $(CORE) $@
