# Needs Python 3.11 or later, make, and a package index. Another Python: make PYTHON=python3.12
PYTHON ?= python3
VENV   ?= .venv
DEMO   ?= demo
PYTEST_ARGS ?= -n auto

BIN     := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install dev demo test test-all lint types format clean

help:  ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' Makefile

# Stamps: each installation runs once, and again when one of these two files changes.
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(INSTALL) --editable '.[dev]'
	@touch $@

install: $(VENV)/installed  ## the toolkit in .venv
dev: $(VENV)/installed-dev  ## the same with the tools of a developer

demo: $(VENV)/installed $(DEMO)/run/model.safetensors  ## from nothing to a picture: make data, train, convert
	$(BIN)/translate convert $(DEMO)/run $(DEMO)/data/test/sketches $(DEMO)/converted
	@echo "Look at $(DEMO)/converted, and at the last picture in $(DEMO)/run/samples: sketches and what"
	@echo "became of them, photos and what became of them. Remove $(DEMO)/ to begin anew."

$(DEMO)/data: | $(VENV)/installed
	$(BIN)/translate data demo $@ --size 72

$(DEMO)/run/model.safetensors: | $(DEMO)/data
	$(BIN)/translate train cyclegan --recipe demo \
	  --domains $(DEMO)/data/sketches $(DEMO)/data/photos --out $(DEMO)/run \
	  --set 'data.validation=["$(DEMO)/data/test/sketches", "$(DEMO)/data/test/photos"]'

test: $(VENV)/installed-dev  ## the fast tests
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

test-all: $(VENV)/installed-dev  ## all tests, the slow ones too
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/installed-dev  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-dev  ## mypy
	$(BIN)/mypy

format: $(VENV)/installed-dev  ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment, the demo and all caches; runs/ is kept
	rm -rf $(VENV) demo build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
