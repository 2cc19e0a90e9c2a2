"""Convolutions in the body of a loop, as fast there as they are alone.

XLA's fast routine for CPUs wants (batch, space, channels). It rearranges every other convolution, such as a
kernel's gradient, in a program's main computation, but none in the body of a loop: those are summed one product at a
time, several times slower and in another order (openxla/xla, ``conv_canonicalization.cc``). So
they are rearranged here.
"""

import importlib
from collections.abc import Callable
from typing import Any

_CONVOLUTION = "conv_general_dilated"  # as JAX names the operation


def arranged(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` of arrays with its own convolutions in the order that is fast; its results are the same.

    Convolutions inside of loops or branches of ``function`` stay as they are.
    """
    jax: Any = importlib.import_module("jax")
    core: Any = importlib.import_module("jax.extend.core")

    def run(*arguments: Any) -> Any:
        traced, result = jax.make_jaxpr(function, return_shape=True)(*arguments)
        steps = [_arrange(step) if step.primitive.name == _CONVOLUTION else step for step in traced.eqns]
        program = core.ClosedJaxpr(traced.jaxpr.replace(eqns=steps), traced.consts)
        outputs = core.jaxpr_as_fun(program)(*jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(result), outputs)

    return run


def _arrange(step: Any) -> Any:
    """Return a step of a program with the result of the convolution ``step``."""
    jax: Any = importlib.import_module("jax")

    def convolve(rows: Any, kernel: Any) -> Any:
        numbers, last = step.params["dimension_numbers"], rows.ndim - 1
        space = range(1, last)
        batch, channels, *places = numbers.lhs_spec
        filters, inputs, *taps = numbers.rhs_spec
        order = numbers._replace(
            lhs_spec=(0, last, *space), rhs_spec=(last, last - 1, *range(last - 1)), out_spec=(0, last, *space)
        )
        found = step.primitive.bind(
            jax.numpy.transpose(rows, (batch, *places, channels)),
            jax.numpy.transpose(kernel, (*taps, inputs, filters)),
            **step.params | {"dimension_numbers": order},
        )
        batch, channels, *places = numbers.out_spec
        return jax.numpy.moveaxis(found, range(rows.ndim), (batch, *places, channels))

    shapes = (jax.ShapeDtypeStruct(atom.aval.shape, atom.aval.dtype) for atom in step.invars)
    (call,) = jax.make_jaxpr(jax.jit(convolve))(*shapes).eqns
    return call.replace(invars=step.invars, outvars=step.outvars)
