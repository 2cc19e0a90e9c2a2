# The jobs of .ci/run: `make test` in parts. Every test runs on the first Python. On the others runs what may differ with
# the Python: unit tests, on the last one contract tests and what the programs answer, too; not what is slow, being about
# processes and time, nor what JAX and Keras compute, but for one learner on the last: they are the same files on all.
# A job starts when a place is free, in this order: what takes longest first.

FIRST := $(shell scripts/find-python 3.11)
FEW = tests/unit tests/contract
ENGINES = $(addprefix tests/system/,mqtt iota ipfs services)
SWARMS = tests/system/swarm
MEMBERS = $(addprefix tests/system/,agent members lan)

.PHONY: all lint swarms members engines rest 3.12 3.13 few agent
all: lint swarms members engines few rest 3.13 3.12 agent

lint:  # and the environment of the first Python
	$(MAKE) lint PYTHON=$(FIRST)

engines: lint
	$(MAKE) tests PYTHON=$(FIRST) TESTS="$(ENGINES)"

swarms: lint
	$(MAKE) tests PYTHON=$(FIRST) TESTS="$(SWARMS)"

members: lint
	$(MAKE) tests PYTHON=$(FIRST) TESTS="$(MEMBERS)"

rest: lint  # whatever no other job names
	$(MAKE) tests PYTHON=$(FIRST) TESTS="tests $(addprefix --ignore ,$(FEW) $(ENGINES) $(SWARMS) $(MEMBERS))"

few: lint
	$(MAKE) tests PYTHON=$(FIRST) TESTS="$(FEW)"

3.12: SOME = tests/unit -k "not jax and not keras"
3.13: SOME = $(FEW) tests/system/cli/test_cli.py -k "not keras and (not jax or test_learner)"
3.12 3.13: SOME += -m "not slow" $(addprefix --ignore ,tests/unit/trainer_node/learning tests/contract/test_keras_parity.py)
3.12 3.13:
	if found=$$(scripts/find-python $@); then \
		$(MAKE) tests PYTHON="$$found" VENV=build/venv-$@ BYTECODE= TESTS='$(SOME)'; \
	else echo "Python $@ is not here: not tested"; fi

agent:  # the agent's own environment
	scripts/test-agent-venv
