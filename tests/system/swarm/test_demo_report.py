"""What the demo leaves behind says of each person which model serves it, and who is worst off."""

import re
from contextlib import closing
from pathlib import Path

import pytest

from demo.people import Exam, choose_own, make_exam
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.swarm.directory import create_swarm
from learnae.swarm.presets import preset


@pytest.mark.modules("matplotlib")
def test_the_report_says_which_model_serves_whom_and_who_is_worst_off(tmp_path: Path) -> None:
    from demo.report import Own, Result, spread, write_page

    manifest = preset("wrist", 1)
    exam = make_exam(manifest)
    exam = Exam(exam.people[:1], exam.everybody)
    untrained = manifest.definition.initial(manifest.seed)
    with closing(LocalBlockStore(create_swarm(manifest, tmp_path / "swarm").directory, read_only=True)) as store:
        (own,) = [Own.of(choice) for choice in choose_own(manifest, exam, [untrained], store)]
    assert own.model in ("tuned", "alone")
    assert own.chosen > own.common + 0.5
    assert spread([own, Own(0.75, 0.5, "common")]) == ((own.common, 0.5), (0.75 - own.common, own.chosen - 0.5))

    picture, page = tmp_path / "curves.png", tmp_path / "report.html"
    picture.write_bytes(b"")
    own_models = [Own(0.5, 0.75, "tuned"), Own(0.25, 0.5, "<b>")]
    result = Result([0.5, 0.5], [0.75, 0.75], 0.875, own_models, 60.0, 100, 1000)
    write_page(result, ["ann", "ben"], picture, page)
    words = re.sub(r"<[^>]*>", " ", page.read_text())
    for line in ("ann 0.500 0.750 tuned", "worst 0.250 0.500", "best less worst 0.250 0.250", "&lt;b&gt;"):
        assert line in " ".join(words.split())
