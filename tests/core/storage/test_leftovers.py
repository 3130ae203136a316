"""Unfinished files carry the name of their process; those of ended processes are removed, checkpoints are kept."""

import os
import subprocess
import sys
import time

import pytest

from core.storage.leftovers import clear_leftovers, is_abandoned, mark, others, unfinished
from core.storage.store import Store

HOUR = 3600


@pytest.fixture(scope="module")
def gone():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def put(path, hours, folder=False, size=10):
    file = path / "file" if folder else path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * size)
    for item in {file, path}:
        os.utime(item, (time.time() - hours * HOUR,) * 2)
    return path


def test_temporary_files_of_an_ended_process_are_removed_after_an_hour(tmp_path, gone):
    mine = mark().replace(str(os.getpid()), str(gone))
    old = [put(tmp_path / f"a/{mine}{number}", 2, folder=number == 1, size=100) for number in range(2)]
    young = put(tmp_path / f"a/{mine}young", 0.5)
    under_way = put(tmp_path / f"a/{mark()}x", 48)
    elsewhere = put(tmp_path / "a/.part-1@another-host@x", 2)
    elsewhere_old = put(tmp_path / "a/.part-1@another-host@y", 48)
    nameless, nameless_old = put(tmp_path / ".part-abc", 2), put(tmp_path / ".part-def", 48)
    finished = put(tmp_path / "a/part-1@x@file", 48)
    count, size = clear_leftovers(tmp_path)
    assert not any(path.exists() for path in (*old, elsewhere_old, nameless_old))
    assert all(path.exists() for path in (young, under_way, elsewhere, nameless, finished))
    assert (count, size) == (4, 220)
    assert clear_leftovers(tmp_path) == (0, 0)


def test_training_checkpoints_are_not_removed(tmp_path, gone):
    folder = tmp_path / f"models/adapters/{mark().replace(str(os.getpid()), str(gone))}abc"
    put(folder / "checkpoint-20", 48, folder=True)
    assert clear_leftovers(tmp_path) == (0, 0)
    assert (folder / "checkpoint-20/file").exists()


def test_a_process_recognises_its_own_temporary_files(tmp_path, gone):
    path = tmp_path / "models/a"
    left = put(unfinished(path).with_name(unfinished(path).name.replace(str(os.getpid()), str(gone))), 0)
    put(unfinished(path), 0)
    put(unfinished(path.with_name("ba")), 0)
    assert others(path) == [left]
    assert is_abandoned(left)
    assert not is_abandoned(unfinished(path))


def test_an_unfinished_file_has_the_name_of_its_process(tmp_path):
    with Store(str(tmp_path)).writing("x/y") as file:
        file.write(b"z")
        (name,) = [path.name for path in (tmp_path / "x").iterdir()]
        assert name.startswith(mark())
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["y"]
