"""An arm64 userland: the agent, installed as documented, runs its own tests with the real aarch64 wheels."""

import json
import shutil

from userland import ROOT, Userland

# the same that scripts/test-agent-venv runs, and what stands between a sensor and the learner
TESTS = (
    "contract/test_learner.py",
    "contract/test_tflite.py",
    "unit/agent/learning/test_collector.py",
    "unit/swarm/test_features.py",
    "unit/samples/test_windows.py",
    "unit/agent/sources/test_replay.py",
    "unit/protocol/test_identity.py",
    "unit/weights/test_codecs.py",
    "unit/weights/test_frames.py",
    "unit/peer/test_state.py",
    "unit/agent/ingestion/test_buffer.py",
    "unit/agent/test_labels.py",
)
NOT_HERE = (
    # an emulated process' memory is not a process' memory
    "contract/test_tflite.py::test_training_takes_at_most_10_megabytes_above_the_imports",
    # tflite-runtime's aarch64 wheel was built with -ffast-math: in its process numbers below 1e-38 are zero, and
    # Hypothesis refuses to make floats there
    "unit/weights/test_frames.py::test_any_weights_decode_to_finite_values_near_them",
)


def test_the_installed_agent_is_whole(userland: Userland) -> None:
    findings = json.loads(userland.run("learnae doctor --json"))
    assert {f["thing"]: f["state"] for f in findings}["Python"] == "ok"
    assert any(f["detail"].endswith("on aarch64") for f in findings)
    check = json.loads(userland.run("learnae-agent check --config /etc/learnae/agent-board.toml --json"))
    assert check["model"].endswith("parameters")
    userland.run("/opt/learnae/bin/python -c 'import tflite_runtime.interpreter, paho.mqtt.client, serial, cobs'")


def test_the_agents_tests_pass(userland: Userland) -> None:
    for part in ("tests", "bench"):  # the tests draw their batches as the bench does
        shutil.copytree(ROOT / part, userland.root / "root/check" / part, ignore=shutil.ignore_patterns("__pycache__"))
    (userland.root / "root/check/pytest.ini").write_text(
        "[pytest]\npythonpath = . tests/rigs tests/contract\nmarkers =\n    slow\n    modules(*names)\n"
    )
    userland.run("/opt/learnae/bin/pip install --quiet --no-index --find-links /root/pack pytest hypothesis")
    paths = " ".join(f"tests/{path}" for path in TESTS) + "".join(f" --deselect tests/{path}" for path in NOT_HERE)
    options = "--noconftest -q -k 'not jax' --hypothesis-profile=ci"  # without deadlines
    print(userland.run(f"cd /root/check && /opt/learnae/bin/python -m pytest {options} {paths}", 3600)[-300:])
