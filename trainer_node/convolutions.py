"""Convolutions in the body of a loop, as fast there as they are alone.

XLA's fast routine for CPUs wants (batch, space, channels). It rearranges every other convolution, such as a
kernel's gradient, in a program's main computation, but none in the body of a loop: those are summed one product at a
time, several times slower and in another order (openxla/xla, ``conv_canonicalization.cc``). So it is done here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def arranged(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` of arrays, with its own convolutions in the order that is fast; what it returns is the same.

    Convolutions inside of loops or branches of ``function`` stay as they are.
    """
    jax: Any = importlib.import_module("jax")

    def run(*arguments: Any) -> Any:
        traced, result = jax.make_jaxpr(function, return_shape=True)(*arguments)
        outputs = _evaluate(traced, jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(result), outputs)

    return run


def _evaluate(traced: Any, arguments: list[Any]) -> list[Any]:
    core: Any = importlib.import_module("jax.extend.core")
    program = traced.jaxpr
    known = dict(zip([*program.constvars, *program.invars], [*traced.consts, *arguments], strict=True))

    def value(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else known[atom]

    for step in program.eqns:
        if step.primitive.name == "conv_general_dilated":
            results = [_convolve(step, *map(value, step.invars))]
        else:
            inputs = list(dict.fromkeys(atom for atom in step.invars if not isinstance(atom, core.Literal)))
            alone = program.replace(constvars=[], invars=inputs, outvars=list(step.outvars), eqns=[step])
            results = core.jaxpr_as_fun(core.ClosedJaxpr(alone, ()))(*map(value, inputs))
        known.update(zip(step.outvars, results, strict=True))
    return [value(atom) for atom in program.outvars]


def _convolve(step: Any, rows: Any, kernel: Any) -> Any:
    """The convolution ``step`` on rows (batch, *space, channels) and a kernel (*space, channels, filters)."""
    jax: Any = importlib.import_module("jax")
    numbers, last = step.params["dimension_numbers"], rows.ndim - 1
    space = range(1, last)
    batch, channels, *places = numbers.lhs_spec
    filters, inputs, *taps = numbers.rhs_spec
    found = step.primitive.bind(
        jax.numpy.transpose(rows, (batch, *places, channels)),
        jax.numpy.transpose(kernel, (*taps, inputs, filters)),
        **step.params
        | {
            "dimension_numbers": numbers._replace(
                lhs_spec=(0, last, *space), rhs_spec=(last, last - 1, *range(last - 1)), out_spec=(0, last, *space)
            )
        },
    )
    batch, channels, *places = numbers.out_spec
    return jax.numpy.moveaxis(found, range(rows.ndim), (batch, *places, channels))
