"""Run rounds of federated averaging, all clients in all rounds. Arguments: how many CLIENTS, ROUNDS, and a FILE.

A round more than these is run first: in it clients' processes start. FILE gets, in JSON, the ``seconds`` of the rounds
after it, and the accuracy of the mean after ROUNDS.
"""

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, Context, Message
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from bench.scale.flower_app import client_app
from bench.scale.swarm import CORES
from bench.swarms import accuracy_of, held_out, load_people

_MANIFEST = client_app.MANIFEST


class _Strategy(FedAvg):
    """Averages what all clients answer: of those that fail, Flower itself would only say so in its log."""

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> tuple[Any, Any]:
        """Return the mean; raises RuntimeError where a client has failed."""
        answers = list(replies)
        if failed := [answer.error for answer in answers if answer.has_error()]:
            raise RuntimeError(f"{len(failed)} of {len(answers)} clients have failed: {failed[0]}")
        return super().aggregate_train(server_round, answers)


def main(clients: int, rounds: int, file: Path) -> None:
    """Run a simulation whose clients have a core each while they train."""
    server, ended, means = ServerApp(), [], []

    @server.main()
    def run(grid: Grid, _: Context) -> None:
        strategy = _Strategy(fraction_evaluate=0.0, min_train_nodes=clients, min_available_nodes=clients)
        start = ArrayRecord([_MANIFEST.definition.initial(_MANIFEST.seed)])
        strategy.start(grid, start, num_rounds=1 + rounds, evaluate_fn=note)

    def note(_: int, arrays: ArrayRecord) -> None:
        ended.append(time.monotonic())
        means.append(arrays.to_numpy_ndarrays()[0])

    resources = {"num_cpus": 1, "num_gpus": 0.0}
    config = {"init_args": {"num_cpus": CORES}, "client_resources": resources}
    run_simulation(server, client_app.app, clients, backend_config=config)
    accuracy = accuracy_of(_MANIFEST, means[rounds], held_out(load_people(_MANIFEST)))
    file.write_text(json.dumps({"seconds": ended[-1] - ended[1], "accuracy": accuracy}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
