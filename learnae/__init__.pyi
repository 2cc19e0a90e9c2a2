from learnae import keras as keras
from learnae.api.creating import create_swarm as create_swarm
from learnae.api.joining import join as join
from learnae.api.loading import LoadedModel as LoadedModel
from learnae.api.loading import load as load
from learnae.api.shared_peer import Kept as Kept
from learnae.api.shared_peer import SharedPeer as SharedPeer
from learnae.api.simulation import Simulation as Simulation

__version__: str
