# The jobs of .ci/run: `make test` in parts. Every test runs on the first Python. On the last one runs what may differ
# with the Python: unit and contract tests and what the programs answer; not what is slow, nor what JAX and Keras compute,
# but for one learner: they are the same files on all. On the one between, what is nearest to the language and its library.
# A job starts when a place is free, in this order: what takes longest first.

FIRST := $(shell scripts/find-python 3.11)
FEW = tests/unit tests/contract
NEAR = $(addprefix tests/unit/,library system config ipld protocol tables cli)
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

3.12: SOME = $(NEAR) -k "not jax and not keras"
3.13: SOME = $(FEW) tests/system/cli/test_cli.py -k "not keras and (not jax or test_learner)"
3.13: SOME += $(addprefix --ignore ,tests/unit/trainer_node/learning tests/contract/test_keras_parity.py)
3.12 3.13: SOME += -m "not slow"
3.12 3.13:
	if found=$$(scripts/find-python $@); then \
		$(MAKE) tests PYTHON="$$found" VENV=build/venv-$@ BYTECODE= TESTS='$(SOME)'; \
	else echo "Python $@ is not here: not tested"; fi

agent:  # the agent's own environment
	scripts/test-agent-venv
