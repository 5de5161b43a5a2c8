# `make run` and `make test` work on a fresh machine: Python >= 3.11, make and a package index are all they need.
# An active virtual (or conda) environment is used as it is; otherwise .venv is made.
PYTHON ?= python3
ACTIVE := $(or $(VIRTUAL_ENV),$(CONDA_PREFIX))
VENV := $(or $(ACTIVE),$(CURDIR)/.venv)
BIN := $(VENV)/bin
STAMP := .installed$(subst /,-,$(VENV))

# One thread a process: the tests are many and small. Without pytest-xdist: `python -m pytest`.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

.PHONY: run test test-all lint clean

run: $(STAMP)
	$(BIN)/python -m harness.run --shift backward_lt --imbalance 50

test: $(STAMP)
	$(PYTEST) -m 'not exhaustive and not statistical'

# the rest: what `test` leaves out, and property tests again with ten times the examples
test-all: $(STAMP)
	$(PYTEST) -m 'exhaustive or statistical or hypothesis' --hypothesis-profile thorough

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(STAMP): pyproject.toml constraints.txt $(wildcard $(VENV)/pyvenv.cfg)
	@"$(or $(if $(ACTIVE),$(BIN)/python),$(PYTHON))" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Python >= 3.11 is needed: make PYTHON=python3.12 ...' >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# beside a PyTorch that is there, what pip picks; else what was tested
	$(BIN)/python -m pip install --quiet --editable '.[dev]' \
		$$($(BIN)/python -c 'import importlib.metadata as m; m.version("torch")' 2> /dev/null || echo '--constraint constraints.txt')
	@touch '$@'

clean:
	rm -rf .venv .installed-* build *.egg-info
