"""``scripts/try-cases``: what a folder of inputs gave."""

import sys
from pathlib import Path

from programs import finish

ROOT = Path(__file__).parents[3]
SCRIPTS = {
    "a-same": "echo as it was",
    "b-other": "echo $PYTHON",
    "c-broken": "$PYTHON -c 'raise SystemError'",
    "d-absent": "exec no-such-program",
    "e-left": "sleep 600 & echo began",
}


def test_it_says_what_each_folder_gave_and_leaves_it_alone(tmp_path: Path) -> None:
    for name, line in SCRIPTS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.sh").write_text(line + "; touch left-behind\n")
        (tmp_path / name / "observed.txt").write_text("as it was\n")

    done = finish(sys.executable, ROOT / "scripts" / "try-cases", tmp_path)

    table = done.stdout.split("what it gave\n")[1]
    given = {line.split()[0]: line.split(maxsplit=2)[2] for line in table.splitlines()}
    assert given == {
        "a-same": "as before", "b-other": "changed", "c-broken": "a traceback",
        "d-absent": "could not run (status 127)", "e-left": "changed",
    }  # fmt: skip
    assert done.returncode == 1
    assert not list(tmp_path.glob("*/left-behind"))
    assert finish(sys.executable, ROOT / "scripts" / "try-cases", tmp_path, "a-", "b").returncode == 0
