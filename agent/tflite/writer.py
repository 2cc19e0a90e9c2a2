"""Subgraphs to the bytes of a .tflite file: tables by their slot numbers in TFLite's schema."""

from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers

from agent.tflite.graph import Graph, Operator, Scale, Tensor
from agent.tflite.schema import IDENTIFIER, LAST_CODE_OF_THE_OLD_FIELD, VERSION, Options

_ALIGNMENT = 16  # of constant data, by the schema


def write(graphs: Sequence[Graph]) -> bytes:
    """Return the file: subgraph 0 is the primary one; each is callable by its name."""
    return _Writer().model(graphs)


class _Writer:
    """Flatbuffers are written from their leaves: children before the tables that hold them."""

    def __init__(self) -> None:
        self._builder = flatbuffers.Builder(1 << 14)
        self._codes: dict[int, int] = {}
        self._buffers: dict[bytes, int] = {b"": 0}  # buffer 0 stands for "no data"

    def model(self, graphs: Sequence[Graph]) -> bytes:
        builder = self._builder
        subgraphs = self._offsets([self._subgraph(graph) for graph in graphs])
        signatures = self._offsets([self._signature(graph, index) for index, graph in enumerate(graphs)])
        codes = self._offsets([self._code(code) for code in self._codes])
        buffers = self._offsets([self._buffer(data) for data in self._buffers])
        builder.StartObject(8)
        builder.PrependUint32Slot(0, VERSION, 0)
        self._slots({1: codes, 2: subgraphs, 4: buffers, 7: signatures})
        builder.Finish(builder.EndObject(), IDENTIFIER)
        return bytes(builder.Output())

    def _subgraph(self, graph: Graph) -> int:
        tensors = self._offsets([self._tensor(tensor) for tensor in graph.tensors])
        inputs = self._integers([tensor.index for tensor in graph.inputs.values()])
        outputs = self._integers([tensor.index for tensor in graph.outputs.values()])
        operators = self._offsets([self._operator(operator) for operator in graph.operators])
        name = self._builder.CreateString(graph.name)
        self._builder.StartObject(5)
        self._slots({0: tensors, 1: inputs, 2: outputs, 3: operators, 4: name})
        return self._builder.EndObject()

    def _tensor(self, tensor: Tensor) -> int:
        builder = self._builder
        shape = self._integers([max(size, 1) for size in tensor.shape])
        signature = self._integers(tensor.shape) if min(tensor.shape, default=0) < 0 else 0
        name = builder.CreateString(tensor.name or f"t{tensor.index}")
        scale = self._quantization(tensor.scale) if tensor.scale else 0
        buffer = self._buffers.setdefault(tensor.data or b"", len(self._buffers))
        builder.StartObject(8)
        self._slots({0: shape, 3: name, 4: scale, 7: signature})
        builder.PrependInt8Slot(1, tensor.type, 0)
        builder.PrependUint32Slot(2, buffer, 0)
        return builder.EndObject()

    def _quantization(self, scale: Scale) -> int:
        builder = self._builder
        scales = self._vector(scale.scales, builder.PrependFloat32)
        zeros = self._vector(scale.zeros, builder.PrependInt64, 8)
        builder.StartObject(7)
        self._slots({2: scales, 3: zeros})
        builder.PrependInt32Slot(6, scale.axis, 0)
        return builder.EndObject()

    def _operator(self, operator: Operator) -> int:
        builder = self._builder
        inputs, outputs = self._integers(operator.inputs), self._integers(operator.outputs)
        options = self._options(operator.options) if operator.options.table else 0
        builder.StartObject(5)
        builder.PrependUint32Slot(0, self._codes.setdefault(operator.code, len(self._codes)), 0)
        self._slots({1: inputs, 2: outputs, 4: options})
        builder.PrependUint8Slot(3, operator.options.table, 0)
        return builder.EndObject()

    def _options(self, options: Options) -> int:
        builder = self._builder
        texts = {slot: builder.CreateString(value) for slot, kind, value in options.fields if kind == "text"}
        builder.StartObject(max((slot for slot, _, _ in options.fields), default=-1) + 1)
        put = {
            "int8": builder.PrependInt8Slot,
            "bool": builder.PrependBoolSlot,
            "int32": builder.PrependInt32Slot,
            "float32": builder.PrependFloat32Slot,
        }
        builder.ForceDefaults(True)  # 0 is not every field's default
        for slot, kind, value in options.fields:
            if kind != "text":
                put[kind](slot, value, 0)
        builder.ForceDefaults(False)
        self._slots(texts)
        return builder.EndObject()

    def _code(self, code: int) -> int:
        self._builder.StartObject(4)
        self._builder.PrependInt8Slot(0, min(code, LAST_CODE_OF_THE_OLD_FIELD), 0)
        self._builder.PrependInt32Slot(2, 1, 0)
        self._builder.PrependInt32Slot(3, code, 0)
        return self._builder.EndObject()

    def _buffer(self, data: bytes) -> int:
        builder, vector = self._builder, 0
        if data:
            builder.StartVector(1, len(data), _ALIGNMENT)
            builder.head -= len(data)
            builder.Bytes[builder.head : builder.head + len(data)] = data
            vector = builder.EndVector()
        builder.StartObject(1)
        self._slots({0: vector})
        return builder.EndObject()

    def _signature(self, graph: Graph, index: int) -> int:
        inputs = self._offsets([self._entry(name, tensor) for name, tensor in graph.inputs.items()])
        outputs = self._offsets([self._entry(name, tensor) for name, tensor in graph.outputs.items()])
        key = self._builder.CreateString(graph.name)
        self._builder.StartObject(5)
        self._slots({0: inputs, 1: outputs, 2: key})
        self._builder.PrependUint32Slot(4, index, 0)
        return self._builder.EndObject()

    def _entry(self, name: str, tensor: Tensor) -> int:
        text = self._builder.CreateString(name)
        self._builder.StartObject(2)
        self._slots({0: text})
        self._builder.PrependUint32Slot(1, tensor.index, 0)
        return self._builder.EndObject()

    def _slots(self, offsets: dict[int, int]) -> None:
        """Fill the open table's fields that refer to what was written before; 0 leaves one out."""
        for slot, offset in offsets.items():
            self._builder.PrependUOffsetTRelativeSlot(slot, offset, 0)

    def _offsets(self, offsets: Sequence[int]) -> int:
        return self._vector(offsets, self._builder.PrependUOffsetTRelative)

    def _integers(self, values: Sequence[int]) -> int:
        return self._vector(values, self._builder.PrependInt32)

    def _vector(self, values: Sequence[float], prepend: Callable[[Any], None], size: int = 4) -> int:
        self._builder.StartVector(size, len(values), size)
        for value in reversed(values):
            prepend(value)
        return self._builder.EndVector()
