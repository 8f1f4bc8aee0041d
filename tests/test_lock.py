"""Locks and signals: one process at a time, a dead holder's lock taken over, a stop that tears nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from compressor import interrupt, lock


def write(folder: Path, **changes: Any) -> Path:
    """A lock as another process would have left it."""
    with lock.held(folder, "x"):
        note = json.loads((folder / lock.NAME).read_text())
    path = folder / lock.NAME
    path.write_text(json.dumps(note | {"token": "another"} | changes))
    return path


def dead_process() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_a_second_process_is_told_who_holds_the_lock_where_and_since_when(tmp_path: Path) -> None:
    with (
        lock.held(tmp_path, "run 'x'"),
        pytest.raises(lock.HeldError) as caught,
        lock.held(tmp_path, "run 'x'"),
    ):
        pass
    since = str(caught.value).partition("since ")[2][:10]
    assert f"run 'x' is in use by process {os.getpid()} on {socket.gethostname()} since " in str(caught.value)
    assert since.count("-") == 2
    assert lock.holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_dead_holders_lock_is_taken_over_and_a_living_ones_is_not(tmp_path: Path) -> None:
    write(tmp_path / "gone", pid=dead_process())
    write(tmp_path / "number_given_to_another", pid=os.getpid(), started="1")
    for name in ("gone", "number_given_to_another"):
        with lock.held(tmp_path / name, name):
            pass
    write(tmp_path / "alive", pid=os.getppid(), started=lock._started(os.getppid()))
    with pytest.raises(lock.HeldError), lock.held(tmp_path / "alive", "alive"):
        pass


def test_a_holder_on_another_host_is_dead_when_its_heart_stopped(tmp_path: Path) -> None:
    path = write(tmp_path, host="elsewhere", pid=1)
    with pytest.raises(lock.HeldError, match="process 1 on elsewhere"), lock.held(tmp_path, "x"):
        pass
    old = path.stat().st_mtime - lock.STALE - 1
    os.utime(path, (old, old))
    with lock.held(tmp_path, "x"):
        pass


def test_a_heart_beats_while_the_lock_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.01)
    with lock.held(tmp_path, "x"):
        path = tmp_path / lock.NAME
        os.utime(path, (1, 1))
        for _ in range(500):
            if path.stat().st_mtime > 1:
                break
            signal.sigtimedwait([], 0.01)
        assert path.stat().st_mtime > 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}'])
def test_a_lock_that_says_nothing_is_held_until_it_is_old(tmp_path: Path, text: str) -> None:
    path = tmp_path / lock.NAME
    path.write_text(text)
    with pytest.raises(lock.HeldError), lock.held(tmp_path, "x"):
        pass
    os.utime(path, (1, 1))
    with lock.held(tmp_path, "x"):
        pass


def test_of_many_that_find_a_dead_holder_one_at_a_time_gets_the_lock(tmp_path: Path) -> None:
    write(tmp_path, pid=dead_process())
    code = """
import sys
from pathlib import Path
from compressor import lock
folder = Path(sys.argv[1])
for _ in range(5):
    with lock.held(folder, "x", waits=lambda text: None):
        (folder / "inside").mkdir()  # fails where another is inside
        (folder / "inside").rmdir()
"""
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_waits_for_the_end_of_a_step_and_a_second_one_does_not(number: signal.Signals) -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    done: list[str] = []

    def step(*signals: signal.Signals) -> None:
        with interrupt.held():
            for one in signals:
                os.kill(os.getpid(), one)
            done.append(f"a step with {len(signals)}")

    with interrupt.heeded():
        with pytest.raises(KeyboardInterrupt):
            step(number)
        with pytest.raises(KeyboardInterrupt):
            step(number, number)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        step()
    assert done == ["a step with 1", "a step with 0"]
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
