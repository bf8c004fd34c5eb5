# Main targets: `make run`, `make test`, `make docs`, and `make long` for what takes hours. The others are parts of them.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
TEST_STAMP := .venv/.installed-tests
DOCS_STAMP := .venv/.installed-docs

# Half of a test's time is waiting for other processes, so more test processes run than there are cores.
POOL ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 2)
PYTEST := $(BIN)/pytest -q -n $(POOL)

.PHONY: run test test-fast tests check format types programs docs long faults large schemathesis audit bench-service clean

run: $(STAMP)
	@exec $(BIN)/blockhf up

# The checks run beside the tests.
test: $(TEST_STAMP) programs
	@$(MAKE) --no-print-directory -j3 -k format types tests

tests: $(TEST_STAMP)
	@$(PYTEST) --durations=25

# Tests that start no process, use no browser and no server.
test-fast: $(TEST_STAMP)
	@$(PYTEST) -m "not slow and not long"

check: format types

format: $(TEST_STAMP)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(TEST_STAMP)
	@$(BIN)/mypy

# The documentation as HTML; a warning is an error. Generated pages are written first.
docs: $(DOCS_STAMP)
	$(BIN)/python -m docs.generate
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build
	@echo docs/_build/index.html

# All that is too long for `make test`: hours.
long: audit large schemathesis faults bench-service

# Tests of minutes, and random tests with many cases.
large: $(TEST_STAMP)
	BLOCKHF_LONG=1 $(PYTEST) -m "long or random"

# KILLS=1000 for longer; RECORD=FILE to continue later; LOOPS=workers for one loop of all.
KILLS ?= 100
faults: $(TEST_STAMP)
	$(BIN)/python -m tests.benchmarks.faults --kills $(KILLS) $(if $(RECORD),--record $(RECORD)) $(if $(LOOPS),--loops $(LOOPS))
	$(BIN)/python -m tests.benchmarks.planted_faults
	$(BIN)/python -m tests.benchmarks.storage

schemathesis: $(TEST_STAMP)
	BLOCKHF_CASES=10000 $(BIN)/pytest -q tests/backend/api/test_openapi_cases.py

# Known vulnerabilities of what is installed; it fails where there are some, and where the database of them is not reached.
audit: $(STAMP)
	$(BIN)/pip install --disable-pip-version-check -q pip-audit
	$(BIN)/pip-audit --local --skip-editable --vulnerability-service osv

bench-service: $(TEST_STAMP)
	$(BIN)/python -m tests.benchmarks.service
	$(BIN)/python -m tests.benchmarks.reporting

# What tests need that pip does not install. Tests that need a missing program are skipped.
programs:
	@command -v chromium-headless-shell >/dev/null || command -v chromium >/dev/null || \
	  { $(APT) && { $(INSTALL) chromium-headless-shell || $(INSTALL) chromium; }; } >/dev/null 2>&1 || \
	  echo "cannot install chromium here: the tests that need it are skipped"
	@command -v node >/dev/null || { $(APT) && $(INSTALL) nodejs; } >/dev/null 2>&1 || \
	  echo "cannot install nodejs here: the tests that need it are skipped"

APT := [ "$$(id -u)" = 0 ] && command -v apt-get && apt-get update -q
INSTALL := apt-get install -y -q --no-install-recommends

.venv/bin/python:
	$(PYTHON) -m venv .venv

# What is compiled at installation, where there is a C compiler.
C_SOURCES := $(wildcard worker/optim/native/*.[ch])

$(STAMP): .venv/bin/python pyproject.toml $(C_SOURCES)
	$(BIN)/pip install --disable-pip-version-check -q -e .
	@touch $@

# The peers that our tests compare with are installed without their own needs: one of them asks for torchvision.
$(TEST_STAMP): $(STAMP) Makefile
	$(BIN)/pip install --disable-pip-version-check -q -e '.[dev]' einconv einops linear_operator opt_einsum tqdm
	$(BIN)/pip install --disable-pip-version-check -q --no-deps curvlinops-for-pytorch backpack-for-pytorch unfoldNd pytorch_optimizer
	@touch $@

$(DOCS_STAMP): $(STAMP)
	$(BIN)/pip install --disable-pip-version-check -q -e '.[docs]'
	@touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build docs/_build *.egg-info
