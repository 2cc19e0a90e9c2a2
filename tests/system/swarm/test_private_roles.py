"""Both roles with noise, with each engine: what others hear, what the own disk says, what is exported."""

from pathlib import Path

import pytest
from programs import Programs, wait_for

from demo.people import write_private_file
from learnae.privacy.budget_file import FILE
from learnae.privacy.spent import PRIVATE_SAMPLES

ENGINES = {"agent-tflite": ("agent", "tflite"), "agent-numpy": ("agent", "numpy"), "trainer-jax": ("trainer", "jax")}


@pytest.mark.slow
@pytest.mark.modules("ai_edge_litert", "jax")
def test_all_engines_take_private_steps_together(programs: Programs, tmp_path: Path) -> None:
    made = programs.answer("learnae", "swarm", "create", "--preset", "wrist", "--epsilon", 4)
    assert made["privacy"]["training"]["epsilon"] == 4.0
    children = []
    for number, (name, (role, engine)) in enumerate(ENGINES.items(), 1):
        data, config = tmp_path / f"{name}.npz", tmp_path / f"{name}.toml"
        write_private_file(number, data)
        programs.answer("learnae", "join", "--role", role, "--name", name, "--data", data, "--config", config)
        program = ("agent", "run") if role == "agent" else ("trainer_node", "start")
        environment = {"LEARNAE_TRAIN__ENGINE": engine, "LEARNAE_SOURCE__SPEED": "0", "LEARNAE_PUBLISH__EVERY": "2"}
        children.append(programs.start(*program, "--config", config, environment=environment))
    for name in ENGINES:
        wait_for(lambda name=name: (programs.status(name).get("privacy") or {}).get("releases", 0) >= 8, f"{name}", 240)
    for child in children:
        child.stop()
    views = {view["name"]: view for view in programs.answer("learnae", "peers")}
    for name, (_, engine) in ENGINES.items():
        status, view = programs.status(name), views[name]
        spent = status["privacy"]
        assert status["engine"] == engine
        assert 0 < view["epsilon"] <= spent["epsilon"] <= 4.0 * (1 + 1e-6)
        assert (view["samples"], view["accuracy"], view["loss"]) == (PRIVATE_SAMPLES, None, None)
        assert status["holdout_rows"] > 0, "its owner sees how good it is"
        assert (programs.home / "peers" / name / FILE).stat().st_mode & 0o777 == 0o600
    assert "epsilon" in programs.run("learnae", "peers").stdout
    card = programs.answer("learnae", "export", tmp_path / "model.safetensors")["privacy"]
    assert card["spent"]["epsilon"] == max(view["epsilon"] for view in views.values())
    assert card["spent"]["peers"] == len(ENGINES)
