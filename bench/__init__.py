"""What produces the figures in the README: ``python -m bench core``."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as on a board; must be said before NumPy is imported
