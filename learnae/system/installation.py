"""Where this installation came from, for remedies that name a command."""

import importlib.util
import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_DIRECT_URL = "direct_url.json"  # of a distribution that was not installed from an index (PEP 610)
_BOTH_ROLES = ("trainer", "agent-litert")  # what goes together on every Python
_PIPX_SPEC = re.compile(r"\[([\w,-]+)\]")  # the extras in what pipx was given


def how_to_install(extra: str = "") -> str:
    """Return the command that installs Learnae again, with ``extra``: from where it is, as it is on no index.

    There, anyone may register its name: ``pip install 'learnae[...]'`` would install what they put there. An agent's
    and a trainer's extra that take each other's NumPy away become the two that do not.
    """
    install, kept = _installer()
    wanted = {*kept, *_beside_what_is_here(extra).split(",")} - {""}
    if sys.version_info < (3, 12) and {"agent", "trainer"} <= wanted:
        wanted = wanted - {"agent"} | {*_BOTH_ROLES}
    extras = f"[{','.join(sorted(wanted, reverse=True))}]" if wanted else ""
    origin = _origin()
    url = origin.get("url", "")
    if "dir_info" in origin:
        option = "-e " if origin["dir_info"].get("editable") else ""
        return f"{install} {option}{shlex.quote(unquote(urlsplit(url).path) + extras)}"
    if "vcs_info" in origin:
        url = f"{origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}"
    if url:
        return f"{install} {shlex.quote(f'learnae{extras} @ {url}')}"
    return f"{install} the checkout or wheel that learnae was installed from{extras and f', with {extras}'}"


def is_installed(module: str) -> bool:
    """Return True if a top-level module is here; import nothing."""
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # its import has been blocked
        return False


def _beside_what_is_here(extra: str) -> str:
    """Return the extra that leaves the other role's NumPy: tflite-runtime, on Python 3.11, takes JAX's away."""
    if sys.version_info < (3, 12):
        others = {"agent": "jax", "trainer": "tflite_runtime"}
        if extra in others and is_installed(others[extra]):
            return ",".join(_BOTH_ROLES)
    return extra


def _installer() -> tuple[str, Sequence[str]]:
    """Return the command that installs into this environment, and the extras that it would take away unless named."""
    import shutil  # noqa: PLC0415 - only where something is missing
    import tomllib  # noqa: PLC0415

    prefix = Path(sys.prefix)
    try:
        if (prefix / "uv-receipt.toml").exists():
            tool = tomllib.loads((prefix / "uv-receipt.toml").read_text())["tool"]
            own = [each.get("extras", []) for each in tool["requirements"] if each["name"] == "learnae"]
            return "uv tool install", [extra for extras in own for extra in extras]
        if (prefix / "pipx_metadata.json").exists():
            package = json.loads((prefix / "pipx_metadata.json").read_text())["main_package"]
            found = _PIPX_SPEC.search(package["package_or_url"])
            return "pipx install --force", found[1].split(",") if found else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not as we know it: its tool knows more
        pass
    if not is_installed("pip"):
        return f"uv pip install --python {shlex.quote(sys.prefix)}", ()
    if Path(shutil.which("pip") or "/").parent == Path(sys.executable).parent:
        return "pip install", ()
    return f"{shlex.quote(sys.executable)} -m pip install", ()


def _origin() -> dict[str, Any]:
    """Read what the installer noted of the installation; nothing where it noted nothing."""
    from importlib.metadata import distributions  # noqa: PLC0415 - only where something is missing

    # also behind the metadata that lies in a checkout, which Python finds first when started there
    notes = (distribution.read_text(_DIRECT_URL) for distribution in distributions(name="learnae"))
    return next((json.loads(note) for note in notes if note), {})
