# Two commands do everything: make demo, make test. Checks that take minutes: make test-slow.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH := $(VENV)/.bench
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
TORCH := $(shell grep '^torch==' constraints.txt)

.PHONY: demo test test-slow crash-points lint bench docs lock audit clean

demo: $(READY)
	$(BIN)/netassay demo --out demo

test: $(READY)
	$(BIN)/pytest -n auto

test-slow: $(READY)
	$(BIN)/pytest -m slow --durations=0

# takes hours; goes on where it was stopped
crash-points: $(READY)
	$(BIN)/python tests/crash_points.py crash-points.jsonl

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

# torch comes first and by itself, at its pinned version; then all that the lock names, each file by its SHA-256; then
# what a CUDA build of torch needs besides; last the package itself, built by what is there
$(READY): pyproject.toml constraints.txt requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "netassay needs Python 3.11 or newer; name one with make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) --no-deps "$(TORCH)"
	$(INSTALL) --no-deps --require-hashes --requirement requirements.lock
	$(INSTALL) "$(TORCH)"
	$(INSTALL) --no-deps --no-build-isolation --editable .
	touch $(READY)

# after a change of pyproject.toml, and for newer releases (they are taken where the lock is deleted before)
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	build/lock/bin/uv pip compile pyproject.toml --extra test --constraint constraints.txt --no-emit-package torch \
	  --universal --python-version 3.11 --prerelease disallow --generate-hashes --no-header --no-annotate --quiet \
	  --output-file requirements.lock

# known vulnerabilities of what the lock names; asks a database on the internet
audit:
	$(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	build/audit/bin/pip-audit --disable-pip --require-hashes --requirement requirements.lock

$(BENCH): $(READY) benchmarks/peers.txt
	$(INSTALL) --no-deps --requirement benchmarks/peers.txt
	touch $(BENCH)
