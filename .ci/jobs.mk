# The jobs of .ci/run: `make test` in parts. Every test runs on the first Python; unit and contract tests run on all of
# them, but for the slow ones, which are about processes and time; what the programs answer runs on the first and the last.
# A job starts when a place is free, in this order: what takes longest first.

FIRST := $(shell scripts/find-python 3.11)
FEW = tests/unit tests/contract
ENGINES = $(addprefix tests/system/,mqtt iota ipfs services)

.PHONY: all lint engines rest 3.12 3.13 few agent
all: lint engines rest few 3.13 3.12 agent

lint:  # and the environment of the first Python
	$(MAKE) lint PYTHON=$(FIRST)

engines: lint
	$(MAKE) tests PYTHON=$(FIRST) TESTS="$(ENGINES)"

rest: lint  # whatever no other job names
	$(MAKE) tests PYTHON=$(FIRST) TESTS="tests $(addprefix --ignore ,$(FEW) $(ENGINES))"

few: lint
	$(MAKE) tests PYTHON=$(FIRST) TESTS="$(FEW)"

3.13: FEW += tests/system/cli/test_cli.py
3.12 3.13:
	if found=$$(scripts/find-python $@); then \
		$(MAKE) tests PYTHON="$$found" VENV=build/venv-$@ TESTS='-m "not slow" $(FEW)'; \
	else echo "Python $@ is not here: not tested"; fi

agent:  # the agent's own environment
	scripts/test-agent-venv
