"""What leaves a machine, and what it tells: what privacy costs, and what attacks find."""

from collections.abc import Callable

from bench.harness import Race
from bench.privacy import attacks, clipping, masking, one_run, summaries, training

PARTS: dict[str, Callable[[Race], None]] = {
    "masking": masking.run,
    "attacks": attacks.run,
    "training": training.run,
    "one_run": one_run.run,
    "clipping": clipping.run,
    "summaries": summaries.run,
}


def run(race: Race) -> None:
    """Run all parts, or the one that ``race.part`` asks for."""
    race.run_parts(PARTS)
