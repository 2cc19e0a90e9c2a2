"""A swarm whose model is its parameters alone: made from the arrays that all start from."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import ModelError
from learnae.models.parameters import ParameterList, config_of
from learnae.swarm.initial_weights import start_blocks, start_links
from learnae.swarm.manifest import NO_LOSS, Manifest
from learnae.system.atomic_files import open_regular
from learnae.system.npz import DAMAGE, DamagedArchiveError, read_archive
from learnae.text import counted, shown
from learnae.weights.frames import FramePolicy
from learnae.weights.merge import TRIMMED, MergePolicy

_MOST_BYTES = 1 << 31  # the largest model in float64


def manifest_of(
    arrays: Mapping[str, NDArray[Any]],
    name: str,
    created: int,
    rule: str = TRIMMED,
    codec: str = FramePolicy().keyframe,
) -> tuple[Manifest, list[bytes]]:
    """Return the manifest of a new swarm that starts from ``arrays`` by name, and the blocks of these; ModelError.

    Floats are shared; integers stay with each member, such as BatchNorm's count of batches. ``created`` in Unix ms.
    """
    floats = {key: array for key, array in arrays.items() if array.dtype.kind == "f" and array.size}
    if not floats:
        told = f"{counted(len(arrays), 'array')} ({shown(tuple(arrays))})" if arrays else "nothing"
        raise ModelError(f"no parameter of floats among {told}", "give the model's weights by name")
    config = config_of({key: array.shape for key, array in floats.items()})
    ParameterList.from_config(config)
    with np.errstate(over="ignore"):
        vector = np.concatenate([array.astype(np.float32).ravel() for array in floats.values()])
    blocks = start_blocks(vector)
    return (
        Manifest(
            name, config, NO_LOSS, created=created, start=start_links(blocks),
            merge=MergePolicy(rule=rule), codec=FramePolicy(codec, codec),
        ),
        blocks,
    )  # fmt: skip


def read_parameters(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays in an .npz file, by name; raises ModelError."""
    try:
        with open_regular(path) as file:
            with zipfile.ZipFile(file) as archive:
                size = sum(member.file_size for member in archive.infolist())
            if size > _MOST_BYTES:
                raise ModelError(
                    f"{path} holds {size:,} bytes", f"at most {_MOST_BYTES:,} are read: give weights alone"
                )
            file.seek(0)
            return read_archive(file)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}", "give an .npz file of the model's weights") from error
    except (DamagedArchiveError, *DAMAGE) as error:
        raise ModelError(f"{path} is no .npz file of arrays: {error}", "write it with numpy.savez") from error
