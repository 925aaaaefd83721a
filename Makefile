# `make demo` and `make test` need git, make and Python 3.11 or newer with venv; they install all else in .venv.

PYTHON ?= $(shell for it in python3 python3.13 python3.12 python3.11; do \
	$$it -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$it && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip --disable-pip-version-check install --quiet --quiet
SELF := --no-build-isolation --no-deps --editable .
LOCK = $(VENV)/lock/bin/pip-compile --quiet --generate-hashes --no-strip-extras --allow-unsafe --no-emit-index-url \
	--no-emit-find-links --no-emit-trusted-host --no-emit-options
RUNTIME := pyproject.toml requirements/build.in

.PHONY: demo test again check soak test-systemd lint format bench audit sbom lock clean
.DELETE_ON_ERROR:

demo: $(VENV)/run.stamp  ## a simulated tenant, a window from start to proven restore, a report
	@$(BIN)/mmd demo

# One more than there are processors: many tests wait for processes and clocks.
WORKERS ?= $(shell expr $$(nproc 2>/dev/null || echo 1) + 1)
test: $(VENV)/dev.stamp  ## every test, and how many of each kind; under a quarter of an hour on two processors
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

RUNS ?= 20
again: $(VENV)/dev.stamp  ## make test so many times in a row, up to the first failure: is it always green?
	@for run in $$(seq $(RUNS)); do echo "run $$run of $(RUNS)"; $(MAKE) --no-print-directory test || exit; done

check: lint  ## what to run before each commit; under a minute
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal -m "not slow"

SOAK ?= 3600
soak: $(VENV)/dev.stamp  ## all of the proof, and made-up lives for SOAK seconds (an hour)
	@MMD_PROOF=all MMD_SOAK=$(SOAK) $(BIN)/python -m pytest --numprocesses auto tests/proof tests/proof_processes

test-systemd: $(VENV)/dev.stamp  ## the unit under a real systemd; needs root, debootstrap and systemd-nspawn
	@$(BIN)/python -m pytest -p no:cacheprovider tests/systemd/check_unit.py

lint: $(VENV)/dev.stamp  ## format, style, types, layers, security
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/bandit --quiet --recursive --severity-level medium mmd

bench: $(VENV)/dev.stamp  ## measure all that docs/performance.md promises, and write it anew; a quarter of an hour
	@$(BIN)/python -m benchmarks

format: $(VENV)/dev.stamp  ## write the code as the formatter wants it
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

$(VENV)/run.stamp: requirements/run.txt pyproject.toml | $(VENV)/venv.stamp
	@echo "Installing what mmd needs"
	@$(INSTALL) --require-hashes -r $<
	@$(INSTALL) $(SELF)
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt pyproject.toml | $(VENV)/venv.stamp
	@echo "Installing what mmd and its tests need"
	@$(INSTALL) --require-hashes -r $<
	@$(INSTALL) $(SELF)
	@touch $@ $(VENV)/run.stamp

$(VENV)/venv.stamp:
	@test -n "$(PYTHON)" || { echo "mmd needs Python 3.11 or newer: name one with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is not Python 3.11 or newer: name one with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) has no venv: install it first (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

audit: $(VENV)/audit  ## known weaknesses of what mmd installs; asks a service on the internet
	@.ci/audit $(VENV)/audit/bin/pip-audit

sbom: $(VENV)/audit  ## the bill of materials of what mmd installs, as build/sbom.json (CycloneDX)
	@mkdir -p build
	@$(VENV)/audit/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
		--output-file build/sbom.json requirements/run.txt
	@echo "Written: build/sbom.json"

$(VENV)/audit: requirements/audit.txt | $(VENV)/venv.stamp
	@$(PYTHON) -m venv --clear $@
	@$@/bin/python -m pip --disable-pip-version-check install --quiet --quiet --require-hashes -r $<
	@touch $@

lock: $(VENV)/lock  ## pin the newest allowed versions of everything, with hashes
	@CUSTOM_COMPILE_COMMAND="make lock" $(LOCK) --upgrade --output-file requirements/run.txt $(RUNTIME)
	@CUSTOM_COMPILE_COMMAND="make lock" $(LOCK) --upgrade --output-file requirements/dev.txt \
		--constraint requirements/run.txt $(RUNTIME) requirements/dev.in
	@CUSTOM_COMPILE_COMMAND="make lock" $(LOCK) --upgrade --output-file requirements/audit.txt requirements/audit.in

# By the oldest Python we support: what a newer one needs less of does no harm there.
$(VENV)/lock:
	@python3.11 -m venv $@
	@$@/bin/python -m pip --disable-pip-version-check install --quiet "pip-tools==7.6.2"

clean:  ## back to a fresh clone
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
