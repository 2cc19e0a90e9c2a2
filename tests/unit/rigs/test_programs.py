"""The helper that starts programs: their output blocks nothing, and is there to be read."""

import os
import sys
from pathlib import Path

from programs import Child

CHATTY = """
import sys
print("first", flush=True)
sys.stderr.write("x" * 99 + "\\n")
for number in range(20_000):
    print("a line of standard output", number)
    print("a line of the log", number, file=sys.stderr)
"""


def test_a_child_that_says_much_waits_for_nobody(tmp_path: Path) -> None:
    child = Child([sys.executable, "-c", CHATTY], tmp_path / "said" / "0", os.environ, tmp_path)
    try:
        assert child.line() == "first\n"
        assert child.wait(timeout=60) == 0
        assert child.line("err") == "x" * 99 + "\n"
        out, err = child.communicate(timeout=60)
        assert (len(out.splitlines()), len(err.splitlines())) == (20_000, 20_000)
        assert child.communicate() == ("", "")
        assert child.last_words().splitlines()[-1] == "a line of the log 19999"
        assert len(child.last_words().splitlines()) < 50
    finally:
        child.close()
