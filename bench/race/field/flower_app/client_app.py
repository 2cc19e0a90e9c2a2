"""A Flower client: an epoch on the own rows a round; Adam's averages are kept from one round to the next."""

import numpy as np
import work
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train the weights that the server sent."""
    worker = work.Worker(int(context.node_config["partition-id"]))
    net = worker.net
    net.weights[:] = message.content["arrays"].to_numpy_ndarrays()[0]
    if "adam" in context.state:
        net.mean[:], net.square[:], (steps, usual) = context.state["adam"].to_numpy_ndarrays()
        net.steps, net.usual = int(steps), float(usual)
        worker.rng = np.random.default_rng([worker.number, net.steps])
    worker.train()
    context.state["adam"] = ArrayRecord([net.mean, net.square, np.array([net.steps, net.usual])])
    said = {"arrays": ArrayRecord([net.weights]), "metrics": MetricRecord({"num-examples": worker.rows})}
    return Message(content=RecordDict(said), reply_to=message)
