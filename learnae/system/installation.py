"""Where this installation came from, for remedies that name a command."""

import json
import shlex
from typing import Any
from urllib.parse import unquote, urlsplit

_DIRECT_URL = "direct_url.json"  # of a distribution that was not installed from an index (PEP 610)


def how_to_install(extra: str = "") -> str:
    """Return the command that installs Learnae again, with ``extra``: from where it is, as it is on no index.

    There, anyone may register its name: ``pip install 'learnae[...]'`` would install what they put there.
    """
    extras = f"[{extra}]" if extra else ""
    origin = _origin()
    url = origin.get("url", "")
    if "dir_info" in origin:
        option = "-e " if origin["dir_info"].get("editable") else ""
        return f"pip install {option}{shlex.quote(unquote(urlsplit(url).path) + extras)}"
    if "vcs_info" in origin:
        url = f"{origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}"
    if url:
        return f"pip install {shlex.quote(f'learnae{extras} @ {url}')}"
    return f"pip install the checkout or wheel that learnae was installed from{extras and f', with {extras}'}"


def _origin() -> dict[str, Any]:
    """Read what pip noted of the installation; nothing where it noted nothing."""
    from importlib.metadata import distributions  # noqa: PLC0415 - only where something is missing

    # also behind the metadata that lies in a checkout, which Python finds first when started there
    notes = (distribution.read_text(_DIRECT_URL) for distribution in distributions(name="learnae"))
    return next((json.loads(note) for note in notes if note), {})
