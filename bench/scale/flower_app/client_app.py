"""A Flower client: the swarm's steps on the own rows a round; velocities are kept from one round to the next."""

from functools import cache

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from bench.scale.swarm import learner, rows_of
from bench.swarms import load_people
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.swarm.presets import preset

MANIFEST = preset("wrist", 1)
app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train the weights that the server sent."""
    place = context.node_config
    own = _learner(int(place["partition-id"]), int(place["num-partitions"]))
    own.load(message.content["arrays"].to_numpy_ndarrays()[0])
    if "optimiser" in context.state:  # the process may be another one than in the last round
        own.restore(dict(zip(own.state(), context.state["optimiser"].to_numpy_ndarrays(), strict=True)))
    trained = own.train(MANIFEST.training.steps)
    context.state["optimiser"] = ArrayRecord(list(own.state().values()))
    said = {"arrays": ArrayRecord([own.weights()]), "metrics": MetricRecord({"num-examples": trained.rows})}
    return Message(content=RecordDict(said), reply_to=message)


@cache
def _learner(number: int, clients: int) -> NumpyLearner:
    return learner(NumpyLearner, MANIFEST, _datasets(clients)[number])


@cache
def _datasets(clients: int) -> list[Dataset]:
    return rows_of(MANIFEST, load_people(MANIFEST), clients)
