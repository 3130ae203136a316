"""A result is complete if its completion file exists and every listed file has the listed size."""

import pytest

from core.errors import DamagedError
from core.storage.file_facts import damaged_files, file_facts, is_complete
from core.storage.store import Store

FILES = {"weights": b"weights", "config.json": b"{}"}


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path):
    store = Store(str(tmp_path) if request.param == "folder" else f"memory://{tmp_path.name}")
    for name, content in FILES.items():
        store.write(f"models/x/{name}", content)
    store.write_json("models/x/done.json", {"files": file_facts(store, "models/x", FILES)})
    return store


def test_a_result_is_complete_until_a_file_is_removed_or_truncated(store):
    assert is_complete(store, "models/x", "done.json")
    assert not is_complete(store, "models/y", "done.json")
    store.write("models/x/weights", b"wei")
    assert not is_complete(store, "models/x", "done.json")
    assert is_complete(store, "models/x", "done.json", ["config.json"])
    assert damaged_files(store, "models/x", store.load_json("models/x/done.json")["files"]) == ["weights"]
    store.remove("models/x/weights")
    assert not is_complete(store, "models/x", "done.json")
    store.write("models/x/weights", FILES["weights"])
    assert is_complete(store, "models/x", "done.json")
    store.remove("models/x/done.json")
    assert not is_complete(store, "models/x", "done.json")


def test_a_required_file_counts_even_if_the_result_does_not_list_it(store):
    assert not is_complete(store, "models/x", "done.json", ["Modelfile"])
    store.write("models/x/Modelfile", b"FROM")
    assert is_complete(store, "models/x", "done.json", ["Modelfile"])


def test_a_damaged_completion_file_is_an_error_and_not_an_absent_result(store):
    store.write("models/x/done.json", b"{")
    with pytest.raises(DamagedError, match="not JSON"):
        is_complete(store, "models/x", "done.json")
