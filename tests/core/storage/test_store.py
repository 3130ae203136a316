"""The data root: files are complete or absent, and failures are reported with advice."""

import os
import subprocess
import sys
import traceback
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import DamagedError, StoreError
from core.records import AssessmentBatch
from core.storage.locks import take_lock
from core.storage.shared_log import open_shared_log
from core.storage.store import Store, open_store
from tests.conftest import CHECKOUT


def test_a_written_file_is_read_back(data_root):
    store = open_store()
    store.write("a/b.json", "größer")
    assert store.read("a/b.json") == "größer"
    assert store.names("a", ".json") == ["a/b.json"]
    assert store.exists("a/b.json")
    assert not store.exists("a/c.json")


def test_an_object_store_can_be_the_data_root():
    store = Store("memory://understudy")
    store.write("a/b.json", "x")
    assert store.read("a/b.json") == "x"
    assert store.names("a") == ["a/b.json"]
    with pytest.raises(StoreError, match="not a local folder"):
        store.local("models")


def test_errors_for_a_missing_file_and_an_unwritable_root_say_what_to_do(tmp_path):
    with pytest.raises(StoreError, match=r"Cannot read .*Check the name"):
        Store(str(tmp_path)).read("nothing.json")
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(StoreError, match="Set UNDERSTUDY_DATA to a folder that can"):
        Store(str(tmp_path / "file")).check_writable()


FULL = """
import resource, sys
from core.storage.store import Store
from core.errors import StoreError
from core.records import AssessmentBatch
store = Store(sys.argv[1])
store.write("before.json", "small")
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    store.write("after.json", "x" * 100_000)
except StoreError as error:
    print(error)
"""


def test_a_failed_write_leaves_no_partial_file(tmp_path):
    # the kernel refuses the write in the middle, as it does on a full disk
    found = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert "Free some space and run the same command again: what was already made is kept." in found.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["before.json"]
    assert (tmp_path / "before.json").read_text(encoding="utf-8") == "small"


@pytest.mark.skipif(os.geteuid() != 0, reason="a full disk can only be mounted by root; run the tests as root to see it")
def test_a_full_disk_is_reported(tmp_path):
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
        with suppress(OSError), (disk / "rest").open("wb", buffering=0) as rest:
            while rest.write(b"x" * 4096):
                pass
        with pytest.raises(StoreError, match="The disk is full"):
            take_lock(store, "turns/x")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _use(store, name):
    """Return every operation of a store on a name."""
    append = lambda: store.appender(name)("x")  # noqa: E731
    whole = [lambda: store.write(name, "x"), lambda: store.write_json(name, {}), append, lambda: store.remove(name), lambda: store.read_bytes(name)]
    return [
        *whole,
        lambda: store.create(name, b"x"),
        lambda: store.exists(name),
        lambda: store.names(name),
        lambda: store.local(name),
        lambda: _enter(store.reading(name)),
        lambda: _enter(store.writing(name)),
    ]


def _enter(context):
    with context as file:
        assert file


def _files(folder):
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


ROOTS = ["inside", "memory://inside"]
OUT = [
    "",
    ".",
    "..",
    "../outside/secret",
    "a/../../outside/secret",
    "a/..",
    "/etc/passwd",
    "a//b",
    "a/",
    "a/./b",
    "..\\outside",
    "a\\b",
    "a\0b",
    "a\nb",
    "a\x1b[2Jb",
    "\ud800",
]


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("name", [*OUT, "x" * 256, "é" * 128, "/".join(["x" * 100] * 11)])
def test_every_method_refuses_a_name_that_is_not_a_plain_relative_path(tmp_path, root, name):
    store = Store(root if "://" in root else str(tmp_path / root))
    for use in _use(store, name):
        with pytest.raises(StoreError, match="is not a name below the data root"):
            use()
    assert _files(tmp_path) == {}


@given(st.lists(st.sampled_from(["..", ".", "", "a", "outside", "secret", "/", "\\", "link", "out"]), max_size=6).map("/".join))
@example("link/secret")
def test_no_name_reaches_a_file_outside_the_root(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("root")
    (folder / "outside").mkdir()
    (folder / "outside/secret").write_text("secret", encoding="utf-8")
    (folder / "inside").mkdir()
    (folder / "inside/link").symlink_to(folder / "outside")
    (folder / "inside/out").symlink_to(folder / "outside/secret")
    store, before = Store(str(folder / "inside")), _files(folder / "outside")
    for use in _use(store, name):
        with suppress(StoreError):
            assert use() != b"secret"
    assert {key: value for key, value in _files(folder).items() if "/inside" not in key} == {str(folder / "outside"): None, **before}


def test_a_link_out_of_the_root_is_refused_and_the_root_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    store = Store(str(tmp_path / "data"))
    store.write("models/a/model.json", "{}")
    assert (tmp_path / "disk/models/a/model.json").exists()
    (tmp_path / "disk/models/same").symlink_to("a")
    assert store.read("models/same/model.json") == "{}"
    (tmp_path / "disk/elsewhere").symlink_to(tmp_path)
    with pytest.raises(StoreError, match=r"is a link out of the data root.*Set UNDERSTUDY_DATA to where the files are"):
        store.read("elsewhere/secret.json")


def test_files_with_invalid_names_are_not_listed(tmp_path):
    store = Store(str(tmp_path))
    store.write("a/b.json", "{}")
    (tmp_path / "a/b\nc.json").write_text("{}", encoding="utf-8")
    assert [store.read(name) for name in store.names("a", ".json")] == ["{}"]
    assert store.names("a/b.json") == store.names("a/b.json/c") == []  # a file where a folder was meant
    assert store.states_in("a/b.json") == {}


@pytest.mark.parametrize(
    "content", [b'{"token": "hf_secret"}', b"hf_secret", b"\xffhf_secret", b'{"domain": "hf_secret/../x", "judges": [], "assessments": [], "left_out": []}']
)
def test_the_error_for_a_file_of_another_kind_does_not_show_its_content(tmp_path, content):
    (tmp_path / "credentials").write_bytes(content)
    with pytest.raises(StoreError, match=r"credentials is not .* the wrong file") as refused:
        Store(str(tmp_path)).load("credentials", AssessmentBatch)
    reported = "".join(traceback.format_exception(refused.value))
    assert "hf_secret" not in reported


def test_a_folder_or_link_in_place_of_a_file_is_reported_as_damage(tmp_path):
    store = Store(str(tmp_path))
    (tmp_path / "a.json").mkdir()
    (tmp_path / "a.jsonl").mkdir()
    (tmp_path / "b.json").symlink_to("b.json")
    for name, what in (("a.json", "a folder"), ("b.json", "a link that leads to itself")):
        with pytest.raises(DamagedError, match=rf"{name} is {what}, where a file is expected\. Move it away") as refused:
            store.load(name, AssessmentBatch)
        assert refused.value.exit_code == 2
        with pytest.raises(DamagedError), store.reading(name):
            pass
    with pytest.raises(DamagedError, match="a folder, where a file is expected"):
        store.write("a.json", "{}")
    with pytest.raises(DamagedError, match="a folder, where a file is expected"):
        open_shared_log(store, "a").exchange(lambda _: {"call": 1})


@pytest.mark.parametrize("content", [{}, {"statistics": {}}, {"statistics": {"train": {"examples": 3}}}])
def test_a_missing_key_of_an_object_is_reported_as_damage_with_file_and_key(tmp_path, content):
    store = Store(str(tmp_path))
    store.write_json("datasets/x/manifest.json", content)
    assert store.load_json("datasets/x/manifest.json") == content
    with pytest.raises(DamagedError, match=r"datasets/x/manifest\.json has no '\w+', so it is damaged\. Remove it"):
        store.load_json("datasets/x/manifest.json")["statistics"]["train"]["mean"]


def test_a_name_given_by_a_person_cannot_read_outside_the_root(data_root, tmp_path):
    (data_root.parent / "credfile").write_text("hf_secret", encoding="utf-8")
    for name in ("../credfile", str(data_root.parent / "credfile")):
        with pytest.raises(StoreError, match="is not a name below the data root"):
            open_store().load(name, AssessmentBatch)
