# Two commands for a new user: `make demo` and `make test`. Both create or complete .venv by themselves.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
VERSION = $(shell $(PYTHON) -c 'import sys; print("py%d%d" % sys.version_info[:2])')
CONSTRAINTS = constraints/$(VERSION).txt
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Files of tests, side by side; more processes than four would take more memory than they save time.
TEST_WORKERS = -n auto --maxprocesses 4 --dist loadfile
RECIPE = pyproject.toml constraints/py311.txt constraints/py312.txt constraints/py313.txt constraints/torch.txt

.PHONY: help env test-env docs-env demo test lint types contracts extras docs validate validate-long clean

help:
	@echo "make demo           run the main job on a real recording that ships with the package"
	@echo "make test           run the tests"
	@echo "make docs           build the documentation, offline"
	@echo "make validate       run the quick checks behind the validation page"
	@echo "make validate-long  run the long ones [ONLY=NAME]"
	@echo "make lint types contracts extras   what CI runs beside the tests"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.env: $(RECIPE) | $(VENV)/bin/python
	$(PIP) -e . -c $(CONSTRAINTS)
	@touch $@

$(VENV)/.test-env: $(VENV)/.env
	$(PIP) -e ".[all,dev]" -c $(CONSTRAINTS)
	$(PIP) -e ".[torch]" -c $(CONSTRAINTS) -c constraints/torch.txt
	@touch $@

$(VENV)/.docs-env: $(VENV)/.test-env
	$(PIP) -e ".[docs]" -c $(CONSTRAINTS)
	@touch $@

env: $(VENV)/.env
test-env: $(VENV)/.test-env
docs-env: $(VENV)/.docs-env

demo: env
	$(BIN)/neurotools demo

test: test-env
	NEUROTOOLS_COMPLETE=1 $(BIN)/python -m pytest $(TEST_WORKERS)

lint: test-env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: test-env
	$(BIN)/mypy

contracts: test-env
	$(BIN)/lint-imports --no-cache

extras: test-env
	$(BIN)/python -m pytest tests/test_packaging.py -k every_extra

docs: docs-env
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html
	$(BIN)/python docs/check_links.py

validate: test-env
	$(BIN)/python -m benchmarks.validate quick

validate-long: test-env
	$(BIN)/python -m benchmarks.validate long $(if $(ONLY),--only $(ONLY))

clean:
	rm -rf $(VENV) build dist docs/_build docs/gallery neurotools-demo
