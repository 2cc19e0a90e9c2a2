"""A p2pfl node: rounds of federated averaging without a server, over gRPC. Argument: the peer's number."""

import sys
import time
from typing import Any

import numpy as np
import pandas as pd
import work
from p2pfl.settings import Settings

Settings.general.DISABLE_RAY = True  # before all else: its logger starts a cluster when it is imported

from p2pfl.learning.dataset.p2pfl_dataset import P2PFLDataset  # noqa: E402
from p2pfl.learning.frameworks import Framework  # noqa: E402
from p2pfl.learning.frameworks.learner import Learner  # noqa: E402
from p2pfl.learning.frameworks.p2pfl_model import P2PFLModel  # noqa: E402
from p2pfl.node import Node  # noqa: E402

_PORT = 7000


class Model(P2PFLModel):
    """The network of a worker: one array, all its weights."""

    def get_parameters(self) -> list[Any]:
        """Return the weights."""
        return [self.model.weights.copy()]

    def set_parameters(self, params: Any) -> None:
        """Take the weights of others."""
        if isinstance(params, bytes):
            params, self.additional_info = self.decode_parameters(params)
        self.model.weights[:] = params[0]

    def get_framework(self) -> str:
        """Name a framework whose learners p2pfl knows; NumPy is none of them."""
        return str(Framework.PYTORCH.value)


class Training(Learner):
    """Trains for an epoch a round; Adam's averages stay."""

    def __init__(self, worker: work.Worker) -> None:
        super().__init__()
        self.worker, self.done = worker, 0

    def fit(self) -> P2PFLModel:
        """Keep what the last round gave, and train."""
        work.save(self.worker.number, self.done, self.worker.net.weights)
        self.worker.train(self.epochs)
        self.done += 1
        self.get_model().set_contribution([self.addr], self.worker.rows)
        return self.get_model()

    def interrupt_fit(self) -> None:
        """Do nothing: an epoch is short."""

    def evaluate(self) -> dict[str, float]:
        """Measure nothing: the race does."""
        return {}

    def get_framework(self) -> str:
        """Name the model's framework."""
        return str(Framework.PYTORCH.value)


def main(number: int) -> None:
    """Take part in all rounds; the first peer starts them."""
    worker = work.Worker(number)
    rows = P2PFLDataset.from_pandas(_frame(worker))
    node = Node(Model(worker.net), rows, f"127.0.0.1:{_PORT + number}", learner=Training(worker))
    node.start()
    time.sleep(5)  # until all listen
    for other in range(number):
        node.connect(f"127.0.0.1:{_PORT + other}")
    if number == 0:
        while len(node.get_neighbors()) < work.PEERS - 1:
            time.sleep(0.2)
        time.sleep(3)
        node.set_start_learning(rounds=work.ROUNDS, epochs=1, trainset_size=work.PEERS)
    while node.state.round is None:
        time.sleep(0.1)
    while node.state.round is not None:
        time.sleep(0.1)
    work.save(number, work.ROUNDS, worker.net.weights)
    time.sleep(3)  # others may still ask
    node.stop()


def _frame(worker: work.Worker) -> Any:
    return pd.DataFrame({"y": np.ravel(worker.y[:2])})  # the worker has the rows; a node wants a dataset


main(int(sys.argv[1]))
