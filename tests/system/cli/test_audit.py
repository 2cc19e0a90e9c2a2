"""``learnae audit``: before a peer joins, and of what a peer of this machine has published; nothing is sent."""

import json
from pathlib import Path
from xml.etree import ElementTree

from programs import Programs, assert_refused

from demo.people import write_private_file
from learnae.swarm.presets import preset

WRIST = preset("wrist", 1)
USUAL = {"LEARNAE_PRIVACY__ROWS": "100"}  # as by default; tests train on few


def test_a_manifest_is_audited_before_joining_it(programs: Programs, tmp_path: Path) -> None:
    manifest, mine = tmp_path / "theirs.cbor", tmp_path / "mine.npz"
    manifest.write_bytes(WRIST.to_bytes())
    write_private_file(3, mine)
    before = set(programs.home.rglob("*"))
    picture = tmp_path / "found.svg"
    done = programs.run("learnae", "audit", manifest, "--data", mine, "--picture", picture, "--json", environment=USUAL)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    one, members, trap, channel = found["attacks"]
    assert one["bare"] < 0.02
    assert (one["guarded"], trap["guarded"], channel["guarded"]) == (None, None, None)
    assert members["guarded"] < 0.7
    assert found["origin"] == "mine.npz"
    assert found["rows"] > 100
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")
    after = set(programs.home.rglob("*"))
    assert after == before, "a look leaves nothing behind"

    text = programs.run("learnae", "audit", manifest, environment=USUAL)
    assert "nothing is published of fewer than 100 rows" in " ".join(text.stdout.split())
    assert "no noise hides a single row" in text.stdout
    assert_refused(programs.run("learnae", "audit", manifest, "--picture", "a.png"), 78, ".svg")


def test_a_swarm_with_noise_says_what_is_spent(programs: Programs) -> None:
    assert programs.run("learnae", "swarm", "create", "--preset", "wrist", "--epsilon", "4").returncode == 0
    done = programs.run("learnae", "audit", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert 0 < found["privacy"]["epsilon"] <= 4
    assert any("epsilon 4" in line for line in found["exposures"])
    one = found["attacks"][0]
    assert one["guarded"] is None or one["guarded"] > 0.5
