"""docs/api.md is the reference: every public name with all its parameters, and examples that run."""

import inspect
import re
import sys
from pathlib import Path

import pytest

import learnae

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
NAMES = [name for name in learnae.__all__ if name[0] != "_"]
STUB = Path(learnae.__file__).with_suffix(".pyi").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_each_public_name_is_told_with_its_parameters(name: str) -> None:
    found = getattr(learnae, name)
    assert f"`{name}" in PAGE or f"`learnae.{name}`" in PAGE
    assert f"import {name} as {name}" in STUB
    told = {match[1]: match[2] for match in re.finditer(r"`(\w+)\(([^`]*)\)`", PAGE)}
    if not inspect.isclass(found):
        assert told[name] == signature(found)
    if name in ("SharedPeer", "LoadedModel"):
        methods = [key for key, value in vars(found).items() if inspect.isfunction(value) and key[0] != "_"]
        for method in set(methods) - {"begin"}:  # which join calls
            assert f"`{method}({signature(vars(found)[method])})`" in PAGE, method


def test_the_page_tells_the_parameters_of_classes_that_are_made() -> None:
    assert f"`Simulation({signature(learnae.Simulation.__init__)})`" in PAGE


def signature(function: object) -> str:
    """What is between the brackets, without types."""
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in parameters if each.name != "self"]
    return str(inspect.Signature(bare))[1:-1].replace("'", '"')


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    names: dict[str, object] = {}
    for text in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        exec(compile(text, "docs/api.md", "exec"), names)


def test_import_loads_nothing(tmp_path: Path) -> None:
    from programs import finish

    code = "import sys, learnae; dir(learnae); print([m for m in sys.modules if m.startswith(('learnae', 'numpy'))])"
    assert finish(sys.executable, "-c", code, cwd=tmp_path).stdout.startswith("['learnae']\n")
    with pytest.raises(AttributeError, match="no attribute 'jion'"):
        learnae.jion  # type: ignore[attr-defined]  # noqa: B018
