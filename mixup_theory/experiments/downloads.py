"""The official data files: from a folder that has them, else downloaded once; the content is what is checked."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DATA_VARIABLE", "OFFICIAL_FILES", "MissingData", "OfficialFile", "read_official"]

DATA_VARIABLE = "MIXUP_DATA"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_CIFAR = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
_LOCATION = "https://github.com/privacytrustlab/datasets/raw/169de9de00de049dd2e571cf7279e64698ac046a"


class MissingData(FileNotFoundError):
    """An official file that is neither in a folder nor to be had; the message says what to do."""


@dataclass(frozen=True)
class OfficialFile:
    """One file of a data set.

    Attributes:
        folder: Folder it is looked for in, below the data folder.
        name: Its name, unpacked.
        url: Address of the packed file: NAME.gz, or a tar archive with it as a member.
        sha256: Of the unpacked content, so that any packaging of the same data serves.
        member: Its name inside the archive.
    """

    folder: str
    name: str
    url: str
    sha256: str
    member: str | None = None

    @property
    def packed(self) -> str:
        """Name of the packed file."""
        return self.url.rsplit("/", 1)[1]


def _fashion(name: str, sha256: str) -> OfficialFile:
    return OfficialFile("fashion-mnist", name, f"{_FASHION}/{name}.gz", sha256)


def _cifar(name: str, sha256: str) -> OfficialFile:
    return OfficialFile("cifar-10-batches-bin", name, _CIFAR, sha256, f"cifar-10-batches-bin/{name}")


OFFICIAL_FILES: dict[str, tuple[OfficialFile, ...]] = {
    "fashion-mnist": (
        _fashion("train-images-idx3-ubyte", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
        _fashion("train-labels-idx1-ubyte", "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
        _fashion("t10k-images-idx3-ubyte", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
        _fashion("t10k-labels-idx1-ubyte", "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    ),
    "cifar10": (
        _cifar("data_batch_1.bin", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
        _cifar("data_batch_2.bin", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
        _cifar("data_batch_3.bin", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
        _cifar("data_batch_4.bin", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
        _cifar("data_batch_5.bin", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
        _cifar("test_batch.bin", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
    ),
    "location30": (
        OfficialFile(
            "location30",
            "bangkok",
            f"{_LOCATION}/dataset_location.tgz",
            "2ca8f7fc231251e089823e44d39f2d1eed124574cc351c7f80368cfe631dd718",
            "bangkok",
        ),
    ),
}


def _unpacked(path: Path, file: OfficialFile) -> bytes:
    """Return the content of a file found as NAME, NAME.gz, or an archive that has it."""
    data = path.read_bytes()
    if path.name == file.name:
        return data
    if file.member is None:
        return gzip.decompress(data)
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as archive:
        member = archive.extractfile(file.member)  # read in memory: nothing is unpacked to a path of its choosing
        if member is None:
            raise tarfile.ReadError(f"{file.member} is no file")
        return member.read()


def _checked(path: Path, file: OfficialFile) -> bytes:
    """Return the content, having compared its SHA-256."""
    try:
        content = _unpacked(path, file)
    except (OSError, EOFError, zlib.error, tarfile.TarError, KeyError) as error:
        raise ValueError(f"{path} cannot be unpacked ({error}). Remove it and fetch it again.") from None
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise ValueError(f"{path} does not hold the official {file.name}: its SHA-256 differs. Fetch it again.")
    return content


def _places(folder: Path, file: OfficialFile) -> Iterator[Path]:
    for parent in (folder / file.folder, folder):
        for name in (file.name, f"{file.name}.gz", file.packed):
            yield parent / name


def read_official(file: OfficialFile, data_dir: str | os.PathLike[str] | None = None) -> bytes:
    """Return the unpacked content of an official file.

    Looked for in `data_dir` (else the folder that `MIXUP_DATA` names), then in the download cache, then fetched.

    Args:
        file: Which one.
        data_dir: Folder that has the files, packed or not, in their own folder or side by side.

    Returns:
        The content, whose SHA-256 is right.

    Raises:
        ValueError: If a file is there but is not the official one.
        MissingData: If it is nowhere and cannot be downloaded.
    """
    import pooch  # slow to import, and only needed here

    given = data_dir or os.environ.get(DATA_VARIABLE)
    cache = Path(pooch.os_cache("mixup_theory")) / "data"
    for folder in [Path(given), cache] if given else [cache]:
        for path in _places(folder, file):
            if path.is_file():
                return _checked(path, file)
    path = cache / file.folder / file.packed
    pooch.get_logger().setLevel("WARNING")
    try:
        pooch.retrieve(file.url, None, file.packed, path.parent, downloader=pooch.HTTPDownloader(timeout=60))
    except Exception as error:  # pooch passes on whatever requests and the file system raise
        where = f"in {given}, nor in {path.parent}" if given else f"in {path.parent}"
        raise MissingData(
            f"{file.packed} (it holds {file.name}) is not {where}, and {file.url} cannot be fetched "
            f"({type(error).__name__}). Put it into a folder and name that with --data DIR or {DATA_VARIABLE}=DIR."
        ) from None
    return _checked(path, file)
