"""Official files are found in any packaging, checked by content, and missed with a clear line."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pooch
import pytest

from mixup_theory.experiments.downloads import OFFICIAL_FILES, MissingData, OfficialFile, read_official

CONTENT = b"official bytes " * 100
SHA256 = hashlib.sha256(CONTENT).hexdigest()
DEAD = "http://127.0.0.1:9"  # the discard port: nobody answers
PLAIN = OfficialFile("set", "data-ubyte", f"{DEAD}/data-ubyte.gz", SHA256)
MEMBER = OfficialFile("set", "one.bin", f"{DEAD}/all.tar.gz", SHA256, "inside/one.bin")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty download cache, and no data folder from the environment."""
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv("MIXUP_DATA", raising=False)
    return tmp_path / "cache" / "mixup_theory" / "data"


def archive(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("place", "data"),
    [
        ("set/data-ubyte", CONTENT),
        ("set/data-ubyte.gz", gzip.compress(CONTENT, 1)),
        ("data-ubyte", CONTENT),
        ("data-ubyte.gz", gzip.compress(CONTENT, 9)),
    ],
)
def test_any_packaging_of_a_file_serves(tmp_path, monkeypatch, place, data):
    put(tmp_path / place, data)
    assert read_official(PLAIN, tmp_path) == CONTENT
    monkeypatch.setenv("MIXUP_DATA", str(tmp_path))
    assert read_official(PLAIN) == CONTENT


@pytest.mark.parametrize(("place", "packed"), [("set/one.bin", False), ("set/all.tar.gz", True), ("all.tar.gz", True)])
def test_a_member_is_found_with_or_without_its_archive(tmp_path, place, packed):
    put(tmp_path / place, archive({"other": b"x", "inside/one.bin": CONTENT}) if packed else CONTENT)
    assert read_official(MEMBER, tmp_path) == CONTENT


@pytest.mark.parametrize(
    ("file", "place", "data", "message"),
    [
        (PLAIN, "set/data-ubyte", CONTENT + b"!", "does not hold the official data-ubyte: its SHA-256 differs"),
        (PLAIN, "data-ubyte.gz", gzip.compress(CONTENT)[:-9], "data-ubyte.gz cannot be unpacked"),
        (PLAIN, "data-ubyte.gz", b"<html>not found</html>", "data-ubyte.gz cannot be unpacked"),
        (MEMBER, "all.tar.gz", archive({"inside/two.bin": CONTENT}), "all.tar.gz cannot be unpacked"),
        (MEMBER, "all.tar.gz", archive({"inside/one.bin": b"other"}), "its SHA-256 differs"),
        (MEMBER, "all.tar.gz", b"", "all.tar.gz cannot be unpacked"),
    ],
)
def test_another_content_is_refused_by_name(tmp_path, file, place, data, message):
    put(tmp_path / place, data)
    with pytest.raises(ValueError, match=message):
        read_official(file, tmp_path)


def test_a_missing_file_says_which_where_the_address_and_the_flag(tmp_path):
    with pytest.raises(MissingData) as caught:
        read_official(PLAIN, tmp_path / "mine")
    for part in ("data-ubyte.gz", str(tmp_path / "mine"), PLAIN.url, "--data DIR", "MIXUP_DATA=DIR"):
        assert part in str(caught.value)


@pytest.fixture
def server(tmp_path):
    """The address of a folder on the loopback, and the folder."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", folder
        http.shutdown()
        thread.join()


def test_downloaded_once_and_read_from_the_cache_afterwards(server, cache):
    address, folder = server
    put(folder / "data-ubyte.gz", gzip.compress(CONTENT))
    file = OfficialFile("set", "data-ubyte", f"{address}/data-ubyte.gz", SHA256)
    assert read_official(file) == CONTENT
    (folder / "data-ubyte.gz").unlink()
    assert read_official(file) == CONTENT
    assert (cache / "set" / "data-ubyte.gz").is_file()


def test_a_wrong_download_is_refused_and_a_missing_one_named(server):
    address, folder = server
    put(folder / "data-ubyte.gz", gzip.compress(b"tampered"))
    with pytest.raises(ValueError, match="its SHA-256 differs"):
        read_official(OfficialFile("set", "data-ubyte", f"{address}/data-ubyte.gz", SHA256))
    with pytest.raises(MissingData, match="HTTPError"):
        read_official(OfficialFile("set", "absent", f"{address}/absent.gz", SHA256))


def test_every_official_file_has_a_checksum_and_an_address():
    for files in OFFICIAL_FILES.values():
        for file in files:
            assert len(file.sha256) == 64
            assert file.url.startswith(("https://", "http://fashion-mnist.s3-website"))
            assert file.packed.endswith((".gz", ".tgz"))
