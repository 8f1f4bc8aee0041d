# Everything that a fresh clone needs, with only Python (3.11 or newer), pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-all lint docs coverage clean

demo: $(VENV)/.train
	$(BIN)/compress distill --teacher resnet50 --student mobilenetv3

test: $(VENV)/.dev lint
	$(BIN)/python -m pytest

test-all: $(VENV)/.dev lint
	$(BIN)/python -m pytest -m "not gpu"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/generate.py --check

docs: $(VENV)/.dev
	$(BIN)/python docs/generate.py

coverage: $(VENV)/.dev
	$(BIN)/python docs/coverage_table.py $(TESTS)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch goes first and by name: an installer left to choose may take another build than the one pinned.
$(VENV)/.train: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) torch==2.13.0
	$(PIP) -e '.[cpu,train]'
	touch $@

$(VENV)/.dev: $(VENV)/.train
	$(PIP) -e '.[cpu,train,dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
