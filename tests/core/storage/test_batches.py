"""A batch is named as a command printed it, by its name below the data root, or by its file name."""

import pytest

from core.errors import SettingsError
from core.storage.batches import find_batch
from core.storage.store import Store

NAME = "batches/assessments-12ab.json"


def test_a_batch_is_found_by_every_form_of_its_name(tmp_path):
    store = Store(str(tmp_path))
    store.write(NAME, "{}")
    for written in (f"{store.root}/{NAME}", NAME, "assessments-12ab.json", "assessments-12ab"):
        assert find_batch(store, written, "assessments") == NAME
    store.write(corrections := "improvement/therapeutic-coaching/12ab/001/corrections.json", "{}")
    for written in (f"{store.root}/{corrections}", corrections):
        assert find_batch(store, written, "assessments") == corrections


@pytest.mark.parametrize(("written", "kind"), [("assessments-12ac", "assessments"), (NAME, "transcripts"), ("../secret", "assessments"), ("", "assessments")])
def test_the_error_for_a_missing_batch_says_what_to_name_instead(tmp_path, written, kind):
    store = Store(str(tmp_path))
    store.write(NAME, "{}")
    with pytest.raises(SettingsError, match=rf"no batch of {kind} '.*Give the path that") as refused:
        find_batch(store, written, kind)
    assert ("Did you mean 'assessments-12ab.json'?" in str(refused.value)) is (written == "assessments-12ac")
