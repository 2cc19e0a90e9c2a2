"""Samples: cut, joined and marked as a whole."""

import doctest

from learnae import ports


def test_the_example_in_the_docstring_holds() -> None:
    tried = doctest.testmod(ports)
    assert tried.attempted
    assert not tried.failed
