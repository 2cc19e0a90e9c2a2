"""Files as bytes, unpacked: gzip, xz, bzip2, Zstandard or a zip archive of one file, whatever their names say."""

import gzip
import importlib
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from learnae.errors import DataError
from learnae.system.installation import how_to_install

ENDINGS = (".gz", ".xz", ".bz2", ".zst", ".zip")
_LONGEST_MAGIC = 6
_ZSTD_LIBRARIES = ("compression.zstd", "backports.zstd", "zstandard", "pyarrow")


@contextmanager
def opened(path: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Open the unpacked bytes of a file, and the file itself, whose position tells how far the reading is.

    Raises DataError for a file that is not there or damaged, also while it is read.
    """
    try:
        with path.open("rb") as raw:
            yield _unpacked(path, raw), raw
    except gzip.BadGzipFile as error:
        raise DataError(f"cannot read {path}: what follows its packed part is none: {error}", "pack it anew") from error
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError) as error:
        problem = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {path}: {problem}", "check the file, and its permissions") from error


def member_name(path: Path) -> str:
    """Return the name that says what is inside: that of a zip archive's one file; without .gz and the like."""
    name = path.name.lower()
    if name.endswith(".zip") and not Path(name.removesuffix(".zip")).suffix:
        with opened(path) as (_, raw):
            raw.seek(0)
            return Path(_only_member(path, zipfile.ZipFile(raw)).filename).name.lower()
    return name.removesuffix(next((ending for ending in ENDINGS if name.endswith(ending)), ""))


def _unpacked(path: Path, raw: IO[bytes]) -> IO[bytes]:
    magic = raw.read(_LONGEST_MAGIC)
    raw.seek(0)
    if magic.startswith(b"\x1f\x8b"):  # RFC 1952
        return cast(IO[bytes], gzip.GzipFile(fileobj=raw))
    if magic == b"\xfd7zXZ\0":
        return cast(IO[bytes], lzma.LZMAFile(raw))
    if magic.startswith(b"BZh"):
        import bz2  # noqa: PLC0415 - seldom

        return cast(IO[bytes], bz2.BZ2File(raw))
    if magic.startswith(b"\x28\xb5\x2f\xfd"):  # RFC 8878
        return _zstd(path, raw)
    if magic.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        archive = zipfile.ZipFile(raw)
        return archive.open(_only_member(path, archive))
    return raw


def _only_member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [one for one in archive.infolist() if not one.is_dir() and not one.filename.startswith("__MACOSX/")]
    if len(members) != 1:
        raise DataError(f"{path} holds {len(members)} files", "give an archive of one table")
    return members[0]


def _zstd(path: Path, raw: IO[bytes]) -> IO[bytes]:
    for name in _ZSTD_LIBRARIES:
        try:
            library: Any = importlib.import_module(name)
        except ImportError:
            continue
        if name == "pyarrow":
            return cast(IO[bytes], library.CompressedInputStream(raw, "zstd"))
        if name == "zstandard":
            return cast(IO[bytes], library.ZstdDecompressor().stream_reader(raw, read_across_frames=True))
        return cast(IO[bytes], library.ZstdFile(raw))
    raise DataError(
        f"{path} is compressed with Zstandard, which needs Python 3.14, zstandard or pyarrow",
        f"unzstd {path.name}, or {how_to_install('parquet')}",
    )
