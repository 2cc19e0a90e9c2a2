"""A trainer computes: at its defaults nearly all of the time, and it ends at once when it is told to."""

import time

from programs import Programs, wait_for

NAME, SECONDS = "demo-1", 5.0


def trained_share(programs: Programs) -> float:
    """The share of some seconds that is spent on training, by the trainer's own status."""
    before = programs.status(NAME)

    def later() -> bool:
        return bool(programs.status(NAME)["time"] - before["time"] >= SECONDS * 1000)

    wait_for(later, "the trainer's status")
    after = programs.status(NAME)
    return 1000 * (after["training_seconds"] - before["training_seconds"]) / (after["time"] - before["time"])


def test_a_trainer_trains_nearly_all_the_time_and_stops_at_once(programs: Programs) -> None:
    defaults = {"LEARNAE_TRAIN__SHARE": "1.0"}
    process = programs.start("trainer_node", "start", "--demo", pause=None, environment=defaults)
    programs.wait_for_steps(NAME, process)
    assert trained_share(programs) >= 0.8
    begun = time.monotonic()
    process.stop()
    assert time.monotonic() - begun < 3.0


def test_a_share_of_the_time_is_kept(programs: Programs) -> None:
    share = {"LEARNAE_TRAIN__SHARE": "0.2"}
    process = programs.start("trainer_node", "start", "--demo", pause=None, environment=share)
    programs.wait_for_steps(NAME, process)
    assert 0.1 < trained_share(programs) <= 0.22
