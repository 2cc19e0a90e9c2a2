"""A .keras file is checked before Keras reads it: what it unpacks to, where its numbers are, what else is inside."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from limited import run_limited

from learnae.cli.commands.swarm.weights_file import check_weights
from learnae.errors import ModelError

h5py = pytest.importorskip("h5py")

COUNT = 20
PLACE = "layers/dense/vars"


def keras_file(path: Path, fill: Callable[[Any], object], more: dict[str, bytes] | None = None) -> Path:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset(f"{PLACE}/1", data=np.zeros(4, np.float32))
        fill(file)
    members = {"metadata.json": b"{}", "config.json": b"{}", "model.weights.h5": buffer.getvalue(), **(more or {})}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def usual(file: Any) -> None:
    file.create_dataset(f"{PLACE}/0", data=np.zeros((4, 4), np.float32))


def packed(file: Any) -> None:
    file.create_dataset(f"{PLACE}/0", (1 << 15, 1 << 15), "f4", compression="gzip", chunks=(1 << 12, 1 << 12))


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((4, 4), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4, 4))
    file.create_virtual_dataset(f"{PLACE}/0", layout)


def nested(file: Any) -> None:
    file.create_group("/".join("g" * 100))


def strings(file: Any) -> None:
    file.create_dataset(f"{PLACE}/0", data=["a" * 100], dtype=h5py.string_dtype())


def test_what_keras_writes_is_taken(tmp_path: Path) -> None:
    check_weights(keras_file(tmp_path / "m.keras", usual), COUNT)


@pytest.mark.parametrize(
    ("fill", "more", "words"),
    [
        (packed, {}, "/layers/dense/vars/0 is packed, or in pieces"),
        (lambda file: file.create_dataset("a", (1 << 30,), "f4"), {}, "arrays have more than 65,616 values"),
        (lambda file: file.create_dataset("a", (1 << 20,), "S3000"), {}, "is of type"),
        (strings, {}, "is of type object"),
        (virtual, {}, "is kept in other files"),
        (lambda file: file.create_dataset("a", (4,), "f4", external=[("/etc/passwd", 0, 16)]), {}, "in other files"),
        (lambda file: file.__setitem__("a", h5py.ExternalLink("/etc/passwd", "/")), {}, "/a is a link"),
        (lambda file: file.__setitem__("a", h5py.SoftLink("/layers")), {}, "/a is a link"),
        (nested, {}, "groups nest deeper than 64"),
        (lambda file: file["layers"].__setitem__("again", file["layers"]), {}, "groups nest deeper than 64"),
        (usual, {"assets/words.txt": b"a"}, "it holds a file 'assets/words.txt'"),
        (usual, {"metadata.json": bytes(1 << 20)}, "metadata.json has 1,048,576 bytes, where 65,536 may be"),
        (usual, {"model.weights.h5": bytes(18 << 20)}, "model.weights.h5 has 18,874,368 bytes"),
        (usual, {"model.weights.h5": b"no HDF5"}, "cannot read the weights"),
    ],
)
def test_what_keras_does_not_write_is_refused_and_named(
    tmp_path: Path, fill: Callable[[Any], object], more: dict[str, bytes], words: str
) -> None:
    path = keras_file(tmp_path / "m.keras", fill, more)
    assert path.stat().st_size < 100_000
    with pytest.raises(ModelError, match=words):
        check_weights(path, COUNT)


def test_nothing_of_gigabytes_is_unpacked(tmp_path: Path) -> None:
    path = keras_file(tmp_path / "m.keras", packed)
    code = """
import sys
from pathlib import Path
from learnae.cli.commands.swarm.weights_file import check_weights
from learnae.errors import ModelError
try:
    check_weights(Path(sys.argv[1]), 1 << 28)
except ModelError as error:
    print(error)
"""
    assert "is packed" in run_limited(code, 700, path).stdout
