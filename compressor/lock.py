"""Locks: a file that says who holds a folder. Made whole or not at all, by any system; a dead holder's is taken over.

On the holder's own host it is dead when its process is gone (or another one has its number); elsewhere when its
heartbeat, the file's time of change, is old by the clock of the file system that both see.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compressor.errors import UsageError

NAME = "lock.json"
BEAT = 15.0  # seconds between heartbeats
STALE = 8 * BEAT  # a holder that was silent for so long is dead, unless its process can be seen
POLL = 0.05  # seconds between looks while waiting


class HeldError(UsageError):
    """Another process holds the lock; the message says which."""


@contextmanager
def held(folder: Path, what: str, *, waits: Callable[[str], None] | None = None) -> Iterator[None]:
    """Holds `folder`'s lock, which is made where it is missing.

    Args:
        folder: what only one process may write in.
        what: it, in words, for messages.
        waits: told once whom it waits for; without it a lock that is held is an error.

    Raises:
        HeldError: another process holds it; says which, where and since when.
    """
    path = folder / NAME
    token = uuid.uuid4().hex
    told = False
    while not _taken(path, token):
        holder = _holder(path)
        text = f"{what} is in use by {_described(holder)}"
        if waits is None:
            raise HeldError(f"{text}.\nWait for it, or stop it.")
        if not told:
            waits(f"{text}; waiting for it")
            told = True
        time.sleep(POLL)
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, stop), daemon=True)
    beat.start()
    owner = os.getpid()
    try:
        yield
    finally:
        stop.set()
        if os.getpid() == owner and (_holder(path) or {}).get("token") == token:
            path.unlink(missing_ok=True)


def holder(folder: Path) -> str | None:
    """Who holds `folder`'s lock, in words; None where nobody alive does."""
    path = folder / NAME
    return None if not path.exists() or _dead(path) else _described(_holder(path))


def _taken(path: Path, token: str) -> bool:
    """Whether the lock is now ours: it was free, or its holder is dead."""
    if _made(path, token):
        return True
    if not _dead(path):
        return False
    # Two that find it dead must not both remove it: the later one would remove the earlier one's new lock.
    turn = path.with_name(f"{NAME}.takeover")
    if not _made(turn, token):
        with contextlib.suppress(OSError):
            if _age(turn) > STALE:  # it died between two lines
                turn.unlink()
        return False
    try:
        if path.exists() and _dead(path):
            path.unlink(missing_ok=True)
        return _made(path, token)
    finally:
        turn.unlink(missing_ok=True)


def _made(path: Path, token: str) -> bool:
    """Whether the file could be made; it was not there."""
    note = {"token": token, "since": datetime.now(UTC).isoformat(timespec="seconds"), **_me()}
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except (FileExistsError, FileNotFoundError):  # the latter: its folder was removed meanwhile
        return False
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(note, file)
    return True


def _me() -> dict[str, Any]:
    return {"pid": os.getpid(), "started": _started(os.getpid()), "host": socket.gethostname(), "space": _space()}


def _space() -> str | None:
    """Where process numbers mean the same: containers may share a host's name and not its numbers."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _started(pid: int) -> str | None:
    """When a process started, in the system's own terms; None where that can't be told."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _holder(path: Path) -> dict[str, Any] | None:
    """What the lock says; None where it is gone or being written."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _described(note: dict[str, Any] | None) -> str:
    note = note or {}
    return (
        f"process {note.get('pid', '?')} on {note.get('host', 'an unknown host')} since {note.get('since', 'just now')}"
    )


def _dead(path: Path) -> bool:
    note = _holder(path)
    try:
        silent = _age(path) > STALE
    except OSError:  # gone: it may be taken
        return True
    if note is None or (note.get("host"), note.get("space")) != (socket.gethostname(), _space()):
        return silent
    pid = note.get("pid")
    alive = _alive(pid, note.get("started")) if isinstance(pid, int) else None
    return silent if alive is None else not alive


def _alive(pid: int, started: str | None) -> bool | None:
    """Whether that process of this host runs; None where that can't be asked without harm (Windows)."""
    if sys.platform == "win32" or pid <= 0:
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    now = _started(pid)
    return started is None or now is None or now == started


def _age(path: Path) -> float:
    """Seconds since the last heartbeat, by the clock of the file system that the lock lies on."""
    probe = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        probe.touch()
        now = probe.stat().st_mtime
    except OSError:  # a full disk, or one that may only be read
        now = time.time()
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return now - path.stat().st_mtime


def _beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(BEAT):
        with contextlib.suppress(OSError):
            os.utime(path)
