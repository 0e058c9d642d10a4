# Every target sets up .venv by itself, once; `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := runs/demo
# Three processes for two cores: some tests wait for servers, browsers and signals.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder --durations=25

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint bench ui clean

help:
	@echo "make demo      set up, then two real studies on the embedded models (minutes)"
	@echo "make test      set up, then the tests"
	@echo "make test-all  the slow tests too"
	@echo "make lint      ruff and mypy --strict"
	@echo "make bench     benchmarks; their figures are in docs/benchmarks.md"
	@echo "make ui        MLflow's pages of the demo, on 127.0.0.1"
	@echo "make clean     remove .venv, caches and runs/demo"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; name one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Python's venv module is missing. On Debian: apt-get install python3-venv"; exit 1; }
	@echo "Setting up $(VENV): about 2 GB, a few minutes the first time"
	@$(PYTHON) -m venv $(VENV)
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/pip install --quiet --constraint constraints.txt torch
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/pip install --quiet --constraint constraints.txt \
	  --editable '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/mergetuna demo --out $(DEMO)

test: $(READY)
	$(PYTEST) -m "not slow"

test-all: $(READY)
	$(PYTEST) --timeout=1800

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python benchmarks/candidate.py
	$(BIN)/python -m benchmarks.evaluation

ui: $(READY)
	$(BIN)/mergetuna ui $(DEMO)/reasoning

clean:
	rm -rf $(VENV) $(DEMO) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
