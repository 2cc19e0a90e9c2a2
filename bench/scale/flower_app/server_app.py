"""Run rounds of federated averaging, all clients in all rounds. Arguments: how many CLIENTS, ROUNDS, and a FILE.

A round more than these is run first: in it clients' processes start. FILE gets, in JSON, the ``seconds`` of the rounds
after it, and the accuracy of the mean after ROUNDS.
"""

import json
import sys
import time
from pathlib import Path

from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from bench.scale.flower_app import client_app
from bench.swarms import accuracy_of, load_people

_CORES = 2
_MANIFEST = client_app.MANIFEST


def main(clients: int, rounds: int, file: Path) -> None:
    """Run a simulation whose clients have a core each while they train."""
    server, ended, means = ServerApp(), [], []

    @server.main()
    def run(grid: Grid, _: Context) -> None:
        strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=clients, min_available_nodes=clients)
        start = ArrayRecord([_MANIFEST.definition.initial(_MANIFEST.seed)])
        strategy.start(grid, start, num_rounds=1 + rounds, evaluate_fn=note)

    def note(_: int, arrays: ArrayRecord) -> None:
        ended.append(time.monotonic())
        means.append(arrays.to_numpy_ndarrays()[0])

    resources = {"num_cpus": 1, "num_gpus": 0.0}
    config = {"init_args": {"num_cpus": _CORES}, "client_resources": resources}
    run_simulation(server, client_app.app, clients, backend_config=config)
    accuracy = accuracy_of(_MANIFEST, means[rounds], load_people(_MANIFEST))
    file.write_text(json.dumps({"seconds": ended[-1] - ended[1], "accuracy": accuracy}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
