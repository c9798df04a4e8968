# make demo, make test and make lint set up .venv themselves. PYTHON=python3.12 selects another interpreter.
PYTHON ?= python3
EXTRAS ?= test,lint
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
# --no-compile: Python compiles the modules that it imports, a small part of all that is installed. It must be allowed
# to keep them, or each process compiles them again.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
comma := ,
DEVELOP := $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))

.DEFAULT_GOAL := demo
.PHONY: demo test lint format clean

demo: $(VENV)/.installed
	$(BIN)/bert-jax demo

test: $(DEVELOP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

lint: $(DEVELOP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEVELOP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo build *.egg-info

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "bert_jax needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)

# Stamp files, renewed when the dependencies change.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV): a minute or two, once"
	$(PIP) -e .
	@touch $@

$(DEVELOP): pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV) with $(EXTRAS): a minute or two, once"
	$(PIP) -e '.[$(EXTRAS)]'
	@touch $@
