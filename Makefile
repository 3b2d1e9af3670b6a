# Two commands do everything: make demo, make test. Checks that take minutes: make test-slow.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH := $(VENV)/.bench

.PHONY: demo test test-slow lint bench docs clean

demo: $(READY)
	$(BIN)/netassay demo --out demo

test: $(READY)
	$(BIN)/pytest -n auto

test-slow: $(READY)
	$(BIN)/pytest -m slow --durations=0

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(BENCH)
	$(BIN)/python benchmarks/curvature.py
	$(BIN)/python benchmarks/spectrum.py
	$(BIN)/python benchmarks/following.py

docs: $(READY)
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

# torch comes first and by itself: its pinned version must be settled before anything that depends on it is resolved
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "netassay needs Python 3.11 or newer; name one with make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $(READY)

$(BENCH): $(READY) benchmarks/peers.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement benchmarks/peers.txt
	touch $(BENCH)
