"""The ``learnae`` program: arguments, commands, what is shown on a terminal."""
