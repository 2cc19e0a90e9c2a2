# Everything runs in an environment of its own; the first target makes it.
# PYTHON picks the interpreter: make test PYTHON=python3.13

PYTHON ?= python3.11
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.ready
NAME ?= core
# empty where few of the files that are installed will be imported
BYTECODE ?= --compile-bytecode
PYOTA = pyota==2.1.0
PIP = python -m pip install --quiet --disable-pip-version-check
# with LOCKED=true (or CI=true), exactly the files that requirements/ names, each checked against its hash
LOCKED ?= $(CI)
LOCK = $(if $(filter true,$(LOCKED)),requirements/uv.txt requirements/dev.txt requirements/pyota.txt)
COMPILE = $(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-annotate \
	--custom-compile-command 'make lock'
# what `make nightly` runs with LEARNAE_NIGHTLY=1, which lets tests/rigs/nightly.py take full numbers and products
NIGHTLY ?= tests/unit/firmware_bridge/serial_link/test_serial_frames.py \
	tests/unit/firmware_bridge/serial_link/test_link.py tests/system/bridge/test_firmware.py \
	tests/contract/test_keras_parity.py tests/contract/test_learner_parity.py \
	tests/system/swarm/test_kill_anytime.py tests/system/agent/test_agent_kill.py tests/packaging/test_iota_install.py \
	tests/packaging/test_extras.py tests/system/cli/test_wrong_calls.py tests/system/cli/test_bare_machine.py \
	tests/unit/membership/test_interleavings.py tests/unit/membership/test_roster_twin.py \
	tests/system/cli/test_long_and_old_swarms.py tests/system/cli/test_bench_smoke.py \
	tests/system/swarm/test_old_backup.py tests/system/swarm/test_simulation.py tests/system/swarm/test_random_seeds.py \
	tests/fuzz tests/system/mqtt/test_dashboards.py tests/unit/firmware_bridge/senml/test_other_reader.py \
	tests/system/swarm/test_canary.py tests/system/agent/test_masked_agents.py \
	tests/unit/reports/test_figure_files.py

# also where an earlier try ended half-way, as on a Debian without python3-venv
MAKE_VENV = $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) || \
	{ echo "Python 3.11 or newer with venv is needed: make $(MAKECMDGOALS) PYTHON=python3.12 picks another" >&2; exit 1; }

export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: demo test check fix lint tests test-one nightly fuzz mutants lowest newest lock acceptance docs bench clean help

demo: $(VENV)/.demo  ## the main job: eight peers, one model, nobody's data moves
	$(BIN)/python -m demo

test: check  ## format, lint, types, import contracts, all tests

check: lint tests

fix: $(STAMP)  ## mend what ruff can mend, and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: $(STAMP)  ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

tests: $(STAMP)
	$(BIN)/python -m pytest $(TESTS)

test-one: $(STAMP)  ## make test-one T=tests/unit/protocol/test_tangle.py, or T="-k equivocation"
	$(if $(T),,$(error T is empty: make test-one T=tests/unit/protocol/test_tangle.py))
	$(BIN)/python -m pytest $(T)

nightly: $(STAMP)  ## what takes too long for every change: a million frames, all combinations of layers, hundreds of kills
	LEARNAE_NIGHTLY=1 $(BIN)/python -m pytest $(NIGHTLY)

# which decoders (all) and how: make fuzz DECODERS='message "csv"' FUZZ='--count 100000 --seconds 60 --seed 7'
DECODERS ?=
FUZZ ?=

fuzz: $(STAMP)  ## a million hostile inputs for each decoder of bytes from outside: hours
	PYTHONPATH=.:tests:tests/rigs $(BIN)/python -m fuzz.runner $(FUZZ) $(DECODERS)

mutants: $(STAMP)  ## how many of 400 seeded faults in protocol/, weights/ and ipld/ the tests find: half an hour
	$(BIN)/$(PIP) cosmic-ray==8.7.0 coverage==7.17.5
	$(BIN)/python scripts/mutation-test $(MUTANTS)

lowest: RESOLUTION = lowest-direct  ## the lowest versions that setup.cfg allows: unit and contract tests
newest: RESOLUTION = highest  ## the newest versions that setup.cfg allows, whatever the lock says: the same tests
lowest newest:
	$(PYTHON) -m venv --clear build/venv-$@
	build/venv-$@/bin/$(PIP) uv
	build/venv-$@/bin/uv pip install --quiet --python build/venv-$@ --resolution $(RESOLUTION) -e '.[all,demo,dev]'
	build/venv-$@/bin/uv pip install --quiet --python build/venv-$@ --no-deps $(PYOTA)
	build/venv-$@/bin/python -m pytest -m "not slow" tests/unit tests/contract

lock: $(STAMP)  ## renew requirements/, which CI installs
	$(BIN)/$(PIP) uv
	$(COMPILE) --universal --python-version 3.11 --constraints requirements/constraints.txt --extra dev setup.cfg \
		--output-file requirements/dev.txt >/dev/null
	echo $(PYOTA) | $(COMPILE) --no-deps - --output-file requirements/pyota.txt >/dev/null
	echo uv | $(COMPILE) --no-deps - --output-file requirements/uv.txt >/dev/null

docs: $(STAMP)  ## the pages as a site in build/site; links that lead nowhere are errors
	$(BIN)/python scripts/write-key-pages
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --config-file scripts/site/mkdocs.yml

bench: $(STAMP)  ## make bench NAME=core; the races are the files of bench/
	$(BIN)/python -m bench $(NAME)

acceptance: $(STAMP)  ## arm64 userland and an emulated board: needs root, Linux 6.7 and QEMU, a quarter of an hour
	$(BIN)/python -m pytest -s -x --strict-markers tests/acceptance/arm64.py tests/acceptance/emulated_board.py

$(VENV)/.demo: setup.cfg
	@$(MAKE_VENV)
	@echo "installing what the demo needs into $(VENV) …"
	$(BIN)/$(PIP) -e '.[demo]'
	touch $@

$(STAMP): setup.cfg $(LOCK)
	@$(MAKE_VENV)
	@echo "installing what the tests need into $(VENV) (1.2 GB) …"
ifeq ($(LOCK),)
	$(BIN)/$(PIP) --use-pep517 -e '.[dev]'
	$(BIN)/$(PIP) --no-deps $(PYOTA)
else
# uv takes a fifth of pip's time or less. Without bytecode a process compiles what it imports, and keeps that memory.
# It reads no pip.conf: where that says how to reach the registry, pip installs the same
	$(BIN)/$(PIP) --require-hashes -r requirements/uv.txt
	$(BIN)/uv pip install --quiet $(BYTECODE) --python $(VENV) --require-hashes -r requirements/dev.txt || \
		$(BIN)/$(PIP) --require-hashes -r requirements/dev.txt
	$(BIN)/$(PIP) --require-hashes --no-deps -r requirements/pyota.txt
	$(BIN)/$(PIP) --use-pep517 --no-deps -e .
endif
	touch $@ $(VENV)/.demo

clean:  ## remove everything that was made here
	rm -rf build dist *.egg-info .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

help:  ## this list
	@awk -F ' *## ' '/^[a-z-]+:.*## / { sub(":.*", "", $$1); printf "%-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
