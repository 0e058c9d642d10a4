"""The folder of a node in which shipped files lie: each once, at most half of its disk."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from merge_ops.errors import UserError
from merge_ops.plan import readable

Chunks = Callable[[], Iterator[bytes]]


def cache_folder() -> Path:
    """Where shipped files are kept: in $XDG_CACHE_HOME, or ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "mergetuna" / "shipped"


class ShippedCache:
    """Files by their sha256, and a folder of links to them for each study.

    Workers of a node share it. A study's folder stays while a process that opened it lives: it
    holds a lock that the kernel lets go of when the process dies. The others go when room is
    wanted, those used longest ago first, and with them the files that no study has any more.
    """

    def __init__(self, folder: Path, disk: Callable[[Path], int] | None = None) -> None:
        """Args: `disk` gives the free bytes of a folder's disk."""
        self._folder = folder
        self._disk = disk or (lambda path: shutil.disk_usage(path).free)
        self._held: list[IO[str]] = []
        for part in ("files", "studies"):
            (folder / part).mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Let go of the studies that it holds."""
        while self._held:
            self._held.pop().close()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process at a time alters the folder; the kernel frees it from dead ones."""
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def hold(self, study: str) -> Path:
        """A study's folder, kept from now on until `close`, or the end of this process."""
        lock = (self._folder / "studies" / f"{study}.lock").open("a")
        fcntl.flock(lock, fcntl.LOCK_SH)
        os.utime(lock.name)
        self._held.append(lock)
        return self._folder / "studies" / study

    def place(self, sha256: str, size: int, chunks: Chunks, at: Path) -> None:
        """Link a file to a place in a study's folder; it is written unless it is there already.

        Raises:
            UserError: there is no room for it, or what came is not what was sent.
        """
        blob = self._folder / "files" / sha256
        if not blob.exists():
            self._make_room(size)
            write_checked(blob, chunks(), sha256)
        at.parent.mkdir(parents=True, exist_ok=True)
        if not at.exists():
            at.hardlink_to(blob)

    def _make_room(self, size: int) -> None:
        """Let studies go that nobody has open, until the rest and `size` are half of the disk."""
        while True:
            used = sum(path.stat().st_size for path in (self._folder / "files").iterdir())
            free = self._disk(self._folder)
            if used + size <= (used + free) // 2:
                return
            if not self._let_go():
                break
        if size > free:
            raise UserError(
                f"{self._folder}: a file of {readable(size)} was to be sent there, but its disk "
                f"has {readable(free)} left, and the other files there are in use."
            )

    def _let_go(self) -> bool:
        """Delete the study used longest ago that nobody has open; false if there is none."""
        locks = sorted((self._folder / "studies").glob("*.lock"), key=lambda p: p.stat().st_mtime)
        for path in locks:
            with path.open("a") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue
                shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                path.unlink()
            for blob in (self._folder / "files").iterdir():
                if blob.stat().st_nlink == 1:
                    blob.unlink()
            return True
        return False


def write_checked(path: Path, chunks: Iterator[bytes], sha256: str) -> None:
    """Write a file that is there whole or not at all.

    Raises:
        UserError: its sha256 is another one.
    """
    digest, scratch = hashlib.sha256(), path.with_name(f".{path.name}.{os.getpid()}")
    with scratch.open("wb") as stream:
        for chunk in chunks:
            digest.update(chunk)
            stream.write(chunk)
    if digest.hexdigest() != sha256:
        scratch.unlink()
        raise UserError(f"{path}: what came has another sha256 than what was sent.")
    scratch.replace(path)
