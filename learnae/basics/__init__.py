"""Small parts that everything may use, and that use nothing but errors and text."""
