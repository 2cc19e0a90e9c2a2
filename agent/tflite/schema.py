"""Numbers of the TFLite file format (tensorflow/lite/schema/schema.fbs, version 3) that are used here."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

IDENTIFIER = b"TFL3"
VERSION = 3
LAST_CODE_OF_THE_OLD_FIELD = 127  # greater operator codes only have the newer field

# TensorType
FLOAT32, INT32, INT8, RESOURCE = 0, 2, 9, 13
TYPES = {np.dtype(np.float32): FLOAT32, np.dtype(np.int32): INT32, np.dtype(np.int8): INT8}

# BuiltinOperator
ADD, CONCATENATION, CONV_2D, DEQUANTIZE, FULLY_CONNECTED, LOGISTIC, MAX_POOL_2D, MUL = 0, 2, 3, 6, 9, 14, 17, 18
RELU, RESHAPE, SOFTMAX, TANH, PAD, GATHER, TRANSPOSE, MEAN, SUB, DIV = 19, 22, 25, 28, 34, 36, 39, 40, 41, 42
MAXIMUM, ARG_MAX, MINIMUM, LOG, SUM, SQRT, RSQRT = 55, 56, 57, 73, 74, 75, 76
REDUCE_MAX, ONE_HOT, SQUARE, ABS, SPLIT_V, QUANTIZE = 82, 85, 92, 101, 102, 114
BATCH_MATMUL, VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE = 126, 142, 143, 144

# ActivationFunctionType, Padding
NO_ACTIVATION, FUSED_RELU, FUSED_BETWEEN_MINUS_1_AND_1 = 0, 1, 2
SAME, VALID = 0, 1

Kind = Literal["int8", "bool", "int32", "float32", "text"]
Fields = tuple[tuple[int, Kind, object], ...]


@dataclass(frozen=True, slots=True)
class Options:
    """An operator's options: number of its table in the union BuiltinOptions, and (slot, kind, value)."""

    table: int = 0
    fields: Fields = ()


NO_OPTIONS = Options()


def fused(table: int, activation: int) -> Options:
    """Return the options of ADD (11) and MUL (21): an activation."""
    return Options(table, ((0, "int8", activation),))


def fully_connected(activation: int) -> Options:
    """Return the options of FULLY_CONNECTED; int8 weights see inputs quantised around any zero."""
    return Options(8, ((0, "int8", activation), (3, "bool", True)))


def reducer(keep: bool) -> Options:
    """Return the options of SUM, MEAN and REDUCE_MAX: whether reduced axes stay, with size 1."""
    return Options(27, ((0, "bool", keep),))


def one_hot(axis: int) -> Options:
    """Return the options of ONE_HOT."""
    return Options(61, ((0, "int32", axis),))


def split(parts: int) -> Options:
    """Return the options of SPLIT_V."""
    return Options(79, ((0, "int32", parts),))


def variable(name: str) -> Options:
    """Return the options of VAR_HANDLE: subgraphs that use one name share the variable."""
    return Options(111, ((0, "text", ""), (1, "text", name)))


def convolution(padding: int, stride: int, activation: int) -> Options:
    """Return the options of CONV_2D, one row high."""
    strides: Fields = ((0, "int8", padding), (1, "int32", stride), (2, "int32", 1))
    return Options(1, (*strides, (3, "int8", activation), (4, "int32", 1), (5, "int32", 1)))


def pooling(padding: int, stride: int, size: int) -> Options:
    """Return the options of MAX_POOL_2D, one row high."""
    fields: Fields = ((0, "int8", padding), (1, "int32", stride), (2, "int32", 1), (3, "int32", size), (4, "int32", 1))
    return Options(5, fields)


ARG_MAX_OPTIONS = Options(40, ((0, "int8", INT32),))
ADD_OPTIONS, MUL_OPTIONS = fused(11, NO_ACTIVATION), fused(21, NO_ACTIVATION)
SUB_OPTIONS, DIV_OPTIONS = Options(28), Options(29)
CONCATENATION_OPTIONS = Options(10, ((0, "int32", 0),))  # along axis 0
GATHER_OPTIONS = Options(23, ((0, "int32", 1),))  # along axis 1
BATCH_MATMUL_OPTIONS = Options(101, ((0, "bool", True), (1, "bool", False)))  # the first is transposed
SOFTMAX_OPTIONS = Options(9, ((0, "float32", 1.0),))
