# Everything a new machine needs is set up by the first target that is asked for: Python 3.11+, git and make suffice.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready

.PHONY: help setup demo test check bench docs lock clean

help:  ## what can be asked for
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

$(STAMP): requirements/dev.txt pyproject.toml
	@echo "setting up $(VENV) (once; about two minutes) ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup: $(STAMP)  ## create the virtual environment

demo: $(STAMP)  ## run the three modes with the real client and draw them
	$(BIN)/ketline demo

check: $(STAMP)  ## style, types and doors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Tests that compute and nothing else run side by side; where a server answers in time, one after another.
COMPUTING := tests/core tests/programs tests/qpus tests/units

test: check  ## checks and all tests
	$(BIN)/pytest -n 2 $(COMPUTING)
	$(BIN)/pytest $(addprefix --ignore=,$(COMPUTING))

bench: $(STAMP)  ## ratios to what a user would pick instead
	$(BIN)/python -m benchmarks --keep

docs: $(STAMP)  ## make the reference pages from the code
	$(BIN)/python -m ketline.cli.reference docs/reference

lock: $(STAMP)  ## pin the dependencies anew
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		pyproject.toml --all-extras --group dev -o requirements/dev.txt

clean:  ## remove the environment and what was made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-output
