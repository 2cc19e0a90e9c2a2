# Everything runs in an environment of its own; the first target makes it.
# PYTHON picks the interpreter: make test PYTHON=python3.13

PYTHON ?= python3.11
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.ready
NAME ?= core
LOWEST = build/venv-lowest

# also where an earlier try ended half-way, as on a Debian without python3-venv
MAKE_VENV = $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) || \
	{ echo "Python 3.11 or newer with venv is needed: make $(MAKECMDGOALS) PYTHON=python3.12 picks another" >&2; exit 1; }

export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: demo test check lint tests nightly lowest acceptance bench clean

demo: $(VENV)/.demo  ## the main job: eight peers, one model, nobody's data moves
	$(BIN)/python -m demo

test: check  ## format, lint, types, import contracts, all tests

check: lint tests

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config setup.cfg

tests: $(STAMP)
	$(BIN)/python -m pytest $(TESTS)

nightly: $(STAMP)  ## what takes too long for every change: a million frames, all combinations of layers, hundreds of kills
	LEARNAE_NIGHTLY=1 $(BIN)/python -m pytest tests/unit/firmware_bridge/serial_link/test_serial_frames.py tests/unit/firmware_bridge/serial_link/test_link.py tests/system/bridge/test_firmware.py \
		tests/contract/test_keras_parity.py tests/contract/test_learner_parity.py tests/system/swarm/test_kill_anytime.py \
		tests/system/agent/test_agent_kill.py tests/packaging/test_iota_install.py

lowest:  ## the lowest versions that setup.cfg allows: unit and contract tests
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST) --resolution lowest-direct -e '.[all,demo,dev]'
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST) --no-deps pyota==2.1.0
	$(LOWEST)/bin/python -m pytest -m "not slow" tests/unit tests/contract

bench: $(STAMP)  ## make bench NAME=core
	$(BIN)/python -m bench $(NAME)

acceptance: $(STAMP)  ## arm64 userland and an emulated board: needs root, Linux 6.7 and QEMU, a quarter of an hour
	$(BIN)/python -m pytest -s -x --strict-markers tests/acceptance/arm64.py tests/acceptance/emulated_board.py

$(VENV)/.demo: setup.cfg
	@$(MAKE_VENV)
	@echo "installing what the demo needs into $(VENV) …"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	touch $@

$(STAMP): setup.cfg
	@$(MAKE_VENV)
	@echo "installing what the tests need into $(VENV) (1.2 GB) …"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps pyota==2.1.0
	touch $@ $(VENV)/.demo

clean:
	rm -rf build dist *.egg-info .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
