"""A layer that takes in a whole window of readings is asked consent for, whatever it is called."""

from dataclasses import replace
from typing import Any

import pytest

from learnae.runtime.private.consent import EXACT_FRAMES, RAW_WINDOWS, demands
from learnae.swarm.presets import preset
from learnae.weights.codecs import NAMES
from learnae.weights.frames import FramePolicy

CNN = preset("wrist-cnn", 1)
DENSE = ("Dense", {"units": 7, "activation": "softmax", "use_bias": True})


def conv(size: int, stride: int = 1) -> tuple[str, dict[str, Any]]:
    options = {"filters": 32, "kernel_size": [size], "strides": [stride], "padding": "valid"}
    return "Conv1D", {**options, "activation": "relu", "use_bias": True}


@pytest.mark.parametrize(
    ("layers", "asks"),
    [
        ([conv(9, 2), ("GlobalAveragePooling1D", {})], False),
        ([conv(100), ("Flatten", {})], True),
        ([conv(51), ("GlobalAveragePooling1D", {})], True),
        ([("Reshape", {"target_shape": [1, 600]}), conv(1), ("Flatten", {})], True),
        ([("MaxPooling1D", {"pool_size": [2], "strides": [2], "padding": "valid"}), ("Flatten", {})], True),
        ([("GlobalAveragePooling1D", {})], False),
    ],
    ids=["parts", "whole", "half", "reshaped", "pooled", "mean"],
)
def test_a_window_taken_in_whole_needs_consent(layers: list[tuple[str, dict[str, Any]]], asks: bool) -> None:
    kinds = [("InputLayer", {"batch_shape": [None, 100, 6]}), *layers, DENSE]
    config = {"class_name": "Sequential", "config": {"layers": [{"class_name": k, "config": c} for k, c in kinds]}}
    found = demands(replace(CNN, config=config), is_private=False)
    assert (RAW_WINDOWS in found) is asks
    assert RAW_WINDOWS not in demands(replace(CNN, config=config), is_private=True)


@pytest.mark.parametrize("codec", NAMES)
def test_frames_that_are_coarser_than_eight_bits_need_no_consent(codec: str) -> None:
    manifest = replace(preset("wrist", 1), codec=FramePolicy("q8", codec))
    assert (EXACT_FRAMES in demands(manifest, is_private=False)) == (codec in ("f32", "f16"))
