"""The data root: files are whole or not there, and trouble is told in a sentence."""

import os
import subprocess
import sys

import pytest

from core.errors import StoreError
from core.store import Store, open_store
from tests.conftest import CHECKOUT


def test_what_is_written_is_read_back(data_root):
    store = open_store()
    store.write("a/b.json", "größer")
    assert store.read("a/b.json") == "größer"
    assert store.names("a", ".json") == ["a/b.json"]
    assert store.exists("a/b.json")
    assert not store.exists("a/c.json")


def test_an_object_store_serves_as_data_root():
    store = Store("memory://understudy")
    store.write("a/b.json", "x")
    assert store.read("a/b.json") == "x"
    assert store.names("a") == ["a/b.json"]
    with pytest.raises(StoreError, match="not a local folder"):
        store.local("models")


def test_a_missing_file_and_an_unwritable_root_say_what_to_do(tmp_path):
    with pytest.raises(StoreError, match="Cannot read"):
        Store(str(tmp_path)).read("nothing.json")
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(StoreError, match="Set UNDERSTUDY_DATA to a folder that is"):
        Store(str(tmp_path / "file")).check_writable()


FULL = """
import resource, sys
from core.store import Store
from core.errors import StoreError
store = Store(sys.argv[1])
store.write("before.json", "small")
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    store.write("after.json", "x" * 100_000)
except StoreError as error:
    print(error)
"""


def test_a_write_that_does_not_fit_leaves_nothing_half_written(tmp_path):
    # the kernel refuses the write in the middle, as it does on a full disk
    found = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert "Free some space and run the same command again: what was already made is kept." in found.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["before.json"]
    assert (tmp_path / "before.json").read_text(encoding="utf-8") == "small"


@pytest.mark.skipif(os.geteuid() != 0, reason="a full disk can only be mounted by root; run the tests as root to see it")
def test_a_full_disk_is_told_as_such(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no mount")
    try:
        store = Store(str(disk))
        store.write("before.json", "small")
        with pytest.raises(StoreError, match="The disk is full"):
            store.write("after.json", "x" * 100_000)
        assert [path.name for path in disk.iterdir()] == ["before.json"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)
