"""A Flower server: federated averaging by rows, all clients in all rounds."""

import work
from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


@app.main()
def main(grid: Grid, _: Context) -> None:
    """Run all rounds; the weights after each are kept."""

    def keep(done: int, arrays: ArrayRecord) -> MetricRecord:
        work.save(0, done, arrays.to_numpy_ndarrays()[0])
        return MetricRecord({"round": done})

    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=work.PEERS, min_available_nodes=work.PEERS)
    strategy.start(grid, ArrayRecord([work.start()]), num_rounds=work.ROUNDS, evaluate_fn=keep)
