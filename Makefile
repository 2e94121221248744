# make demo: from nothing to the report of the sample data set.   make test: what every commit must pass.
# make check: all that is not a test.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PYTHON := $(shell for name in python3.11 python3.12 python3; do \
	$$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$name && break; done)
# Tools that are started by name (python in dvc.yaml) are those of the environment, whatever else is on PATH.
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: help demo test test-fast test-long check format clean

help:
	@echo "make demo       environment, model weights, dvc repro; ends with the path of the report"
	@echo "make test-fast  tests/unit: no Ray, no processes, no MediaPipe"
	@echo "make test       all tests that a commit must pass"
	@echo "make test-long  proofs that take long; before a release"
	@echo "make check      format, lint, types, layers"
	@echo "make format     put the code in order"

demo: $(VENV)/.installed
	mggtalk models fetch
	dvc repro
	@echo
	@echo "$(abspath artifacts/evaluation/report.html)"

test: $(VENV)/.installed
	pytest

test-fast: $(VENV)/.installed
	pytest tests/unit

test-long: $(VENV)/.installed
	pytest -m "long and not gpu"
	pytest --hypothesis-profile=long tests/unit

check: $(VENV)/.installed
	ruff format --check
	ruff check
	mypy
	lint-imports

format: $(VENV)/.installed
	ruff format
	ruff check --fix

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The stamp is written last, so an installation that was cut off is done again. face-alignment comes without what it
# asks for: its OpenCV would overwrite MediaPipe's.
$(VENV)/.installed: constraints.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: expected Python 3.11 or 3.12 on PATH as python3.11, python3.12 or python3" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,s3,face-alignment,networks]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps face-alignment
	touch $@
