"""The requirements of a training on its dataset, and the amount that it reads."""

import json

import pytest

from core.errors import DatasetError
from core.records import DatasetRef
from core.settings.pipeline import load_training
from core.storage.store import Store
from core.training.estimate import load_of
from core.training.specs import check_learnable

DATASET = DatasetRef(path="datasets/x", examples=3, validation_examples=1, transcripts=2, repo="me/coach", commit="c" * 40, url="")
ROWS = [
    {"split": "train", "frame": 100, "sizes": [400] * 10, "slices": [5] * 10},
    {"split": "train", "frame": 100, "sizes": [400] * 10, "slices": [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]},
    {"split": "validation", "frame": 100, "sizes": [50, 50], "slices": [1, 1]},
]


def stored(folder, **manifest):
    store = Store(str(folder))
    store.write_json(
        f"{DATASET.path}/manifest.json", {"statistics": {name: {"examples": 4, "mean": 900, "max": 4100} for name in ("train", "validation")}, **manifest}
    )
    store.write(f"{DATASET.path}/conversations/rows.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS))
    return store


def training(learn, length=16384):
    shipped = load_training("qwen3-14b")
    return shipped.model_copy(update={"learn": learn, "train": shipped.train | {"max-length": length}})


@pytest.mark.parametrize("learn", ["each_reply_once", "slices_folded"])
def test_training_on_conversations_refuses_a_dataset_with_only_slices(tmp_path, learn):
    with pytest.raises(DatasetError, match=rf"me/coach .* without complete conversations, which learn: {learn} needs\. Build it again"):
        check_learnable(stored(tmp_path), DATASET, training(learn))
    check_learnable(stored(tmp_path), DATASET, training("slices"))


def test_training_on_corrected_replies_refuses_slices(tmp_path):
    store = stored(tmp_path, rounds={"0": 5, "2": 3})
    with pytest.raises(DatasetError, match="has 3 conversations of later rounds"):
        check_learnable(store, DATASET, training("slices"))
    check_learnable(store, DATASET, training("each_reply_once"))


def test_a_training_is_estimated_from_the_rows_it_reads(tmp_path):
    store = stored(tmp_path, rounds={"0": 3})
    assert load_of(store, DATASET, training("slices")).tokens == 3600
    once = load_of(store, DATASET, training("each_reply_once"))
    # the second conversation ends with its last learnt reply
    assert (once.tokens, once.validation_tokens, once.longest) == (100 + 4000 + 100 + 800, 200, 4100)
    windows = load_of(store, DATASET, training("each_reply_once", 2100))
    assert once.tokens < windows.tokens < 2 * once.tokens
    assert windows.longest <= 2100
