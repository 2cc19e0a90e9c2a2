"""Other frameworks in the race: a small script each, as its own documentation has it."""
