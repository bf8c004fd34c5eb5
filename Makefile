# Two commands: `make run` and `make test`. Everything else here is a part of them, or a longer loop.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
TEST_STAMP := .venv/.installed-tests

.PHONY: run test test-browser test-others check browser long faults schemathesis audit bench-service clean

run: $(STAMP)
	@exec $(BIN)/blockhf up

# Threads that wait sleep instead of spinning: on a busy machine of 2 cores that is several times faster.
test: export OMP_WAIT_POLICY := PASSIVE
test: $(TEST_STAMP) browser check
	@$(MAKE) --no-print-directory -j2 -k test-browser test-others

# The tests in a browser wait more than they compute, so the others run beside them. What they say comes at their end.
test-browser:
	@said=$$(mktemp); $(BIN)/pytest tests/e2e >$$said 2>&1; code=$$?; cat $$said; rm $$said; exit $$code

test-others:
	@$(BIN)/pytest --ignore=tests/e2e

check: $(TEST_STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# All that is too long for `make test`: hours.
long: audit schemathesis faults bench-service

# KILLS=1000 for longer; RECORD=FILE to go on later from where it was broken off; LOOPS=workers for one loop of all.
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

browser:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  apt-get update -q >/dev/null && apt-get install -y -q chromium >/dev/null; } || \
	  echo "no chromium found and it cannot be installed here: the browser tests will be skipped"

.venv/bin/python:
	$(PYTHON) -m venv .venv

# What is compiled at installation, where there is a C compiler.
C_SOURCES := $(wildcard worker/optim/native/*.[ch])

$(STAMP): .venv/bin/python pyproject.toml $(C_SOURCES)
	$(BIN)/pip install --disable-pip-version-check -q -e .
	@touch $@

# The peers that our tests compare with are installed without their own needs: one of them asks for torchvision.
$(TEST_STAMP): $(STAMP)
	$(BIN)/pip install --disable-pip-version-check -q -e '.[dev]' einconv einops linear_operator opt_einsum tqdm
	$(BIN)/pip install --disable-pip-version-check -q --no-deps curvlinops-for-pytorch backpack-for-pytorch unfoldNd
	@touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info
