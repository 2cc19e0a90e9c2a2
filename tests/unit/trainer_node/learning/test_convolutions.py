"""Convolutions of a loop are rearranged, and are the same convolutions."""

import importlib
import re
from typing import Any

import numpy as np
import pytest

from trainer_node.learning.convolutions import arranged

pytestmark = pytest.mark.modules("jax")
RNG = np.random.default_rng(2)
SHAPES = {  # rows, kernel, how
    "one dimension": ((4, 12, 3), (5, 3, 8), {"window_strides": (2,), "padding": "SAME"}),
    "two dimensions": ((4, 9, 7, 3), (3, 2, 3, 8), {"window_strides": (1, 2), "padding": "VALID"}),
    "spread kernel": ((4, 20, 3), (3, 3, 8), {"window_strides": (1,), "padding": "SAME", "rhs_dilation": (2,)}),
    "groups": ((4, 12, 6), (3, 2, 9), {"window_strides": (1,), "padding": "SAME", "feature_group_count": 3}),
    "depthwise": ((4, 12, 6), (3, 1, 12), {"window_strides": (1,), "padding": "SAME", "feature_group_count": 6}),
    "spread rows": ((4, 12, 3), (4, 3, 8), {"window_strides": (1,), "padding": [(2, 3)], "lhs_dilation": (2,)}),
}


def step_of(how: dict[str, Any]) -> Any:
    """A step of descent for a kernel, as a network with a branch and a loop would have it."""
    jax: Any = importlib.import_module("jax")

    def loss(kernel: Any, rows: Any) -> Any:
        names = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC")}[rows.ndim - 2]
        found = jax.lax.conv_general_dilated(rows, kernel, dimension_numbers=names, **how)
        turns = jax.lax.fori_loop(0, 3, lambda _, total: total * 0.5 + 1.0, 1.0)
        return (jax.nn.relu(found) ** 2).mean() * jax.lax.cond(found[0].sum() > 0, lambda: turns, lambda: 2 * turns)

    def step(state: dict[str, Any], rows: Any) -> tuple[dict[str, Any], Any]:
        value, gradient = jax.value_and_grad(loss)(state["kernel"], rows)
        moved = jax.grad(loss, argnums=1)(state["kernel"], rows)  # what a layer before this one would be given
        return {"kernel": state["kernel"] - 0.1 * gradient, "rows": moved}, value

    return step


def in_a_loop(step: Any, state: Any, rows: Any) -> Any:
    jax: Any = importlib.import_module("jax")
    return jax.jit(lambda state, rows: jax.lax.scan(step, state, rows)).lower(state, rows).compile()


@pytest.mark.parametrize("kind", SHAPES)
def test_the_same_step_is_computed(kind: str) -> None:
    jax: Any = importlib.import_module("jax")
    shape, kernel_shape, how = SHAPES[kind]
    rows = RNG.standard_normal((3, *shape)).astype(np.float32)
    state = {"kernel": RNG.standard_normal(kernel_shape).astype(np.float32), "rows": np.zeros(shape, np.float32)}
    step = step_of(how)

    plain, fast = (in_a_loop(one, state, rows)(state, rows) for one in (step, arranged(step)))

    assert jax.tree.structure(plain) == jax.tree.structure(fast)
    assert not np.allclose(plain[0]["kernel"], state["kernel"], atol=1e-3)
    for wanted, found in zip(jax.tree.leaves(plain), jax.tree.leaves(fast), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)


def test_none_is_left_to_the_slow_routine_of_a_cpu() -> None:
    jax: Any = importlib.import_module("jax")
    if jax.devices()[0].platform != "cpu":
        pytest.skip("JAX runs on another device here")
    shape, kernel_shape, how = SHAPES["one dimension"]
    rows = RNG.standard_normal((3, *shape)).astype(np.float32)
    state = {"kernel": RNG.standard_normal(kernel_shape).astype(np.float32), "rows": np.zeros(shape, np.float32)}

    def orders(step: Any) -> set[str]:
        return set(re.findall(r" convolution\(.*?dim_labels=([^, ]+)", in_a_loop(step, state, rows).as_text()))

    assert orders(arranged(step_of(how))) == {"b0f_0io->b0f"}
    assert orders(step_of(how)) != {"b0f_0io->b0f"}
