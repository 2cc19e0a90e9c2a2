"""How good a model is, in numbers: pure functions over what it said and what was right."""
