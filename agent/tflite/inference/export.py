"""A trained model as a .tflite file for inference, in float32 or int8.

The weights are constants, so that runtimes can prepare them; BatchNormalization becomes part of the layer before it, or
one scale and one shift. int8 is post-training quantisation
(https://ai.google.dev/edge/litert/models/post_training_quantization): full-integer where rows show the activations'
ranges, else dynamic-range, where activations are quantised while it runs. Input and output are float32 always.
"""

from agent.tflite.graph import ANY, Graph
from agent.tflite.inference.float32 import Floats, stages
from agent.tflite.inference.int8 import add_stages
from agent.tflite.operations import Operations
from agent.tflite.writer import write
from learnae.models.definition import ModelDefinition
from learnae.models.layers import Array
from learnae.weights.codecs import Vector

SIGNATURE = "serving_default"  # where programs look for inference


def inference_program(model: ModelDefinition, weights: Vector, int8: bool = False, rows: Array | None = None) -> bytes:
    """Write a .tflite file: rows (n, *input) -> output (n, *output); raises ModelError.

    With ``int8`` and ``rows`` (n, *input) to calibrate with, activations are int8, too.
    """
    graph = Graph(SIGNATURE)
    ops, parts = Operations(graph), stages(model, weights)
    value = graph.input("rows", (ANY, *model.input_shape))
    if int8 and rows is not None and len(rows):
        value = add_stages(ops, parts, value, rows)
    else:
        run = Floats(ops, int8)
        for stage in parts:
            value = run.add(stage, value)
    graph.output("output", value)
    return write([graph])
