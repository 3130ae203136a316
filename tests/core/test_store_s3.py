"""The data root on a server that speaks S3."""

import json

import pytest

from core.errors import StoreError
from core.storage.store import Store

pytestmark = pytest.mark.slow


def test_a_written_object_can_be_read_found_listed_and_removed(bucket):
    store = Store(bucket)
    store.write_json("transcripts/x/a.json", {"words": "ä"})
    store.write("transcripts/x/b.json", b"{}")
    assert json.loads(store.read("transcripts/x/a.json")) == {"words": "ä"}
    assert store.names("transcripts/x", ".json") == ["transcripts/x/a.json", "transcripts/x/b.json"]
    assert store.names("nowhere") == []
    assert store.exists("transcripts/x/a.json")
    assert not store.exists("transcripts/x/c.json")
    store.remove("transcripts/x/b.json")
    assert store.names("transcripts/x") == ["transcripts/x/a.json"]


def test_the_file_of_another_process_is_visible_at_once(bucket):
    """Listings and reads bypass caches that know only their own writes."""
    import boto3

    mine, other = Store(bucket), boto3.client("s3")
    mine.write("shared/zero", "0")
    assert mine.names("shared") == ["shared/zero"]
    assert not mine.exists("shared/one")
    other.put_object(Bucket="rehearsals", Key="data/shared/one", Body=b"1")
    assert mine.names("shared") == ["shared/one", "shared/zero"]
    assert mine.exists("shared/one")
    assert mine.read("shared/one") == "1"


def test_lines_are_appended_and_large_files_stream(bucket):
    store = Store(bucket)
    append = store.appender("ledger/run/x.jsonl")
    for number in range(3):
        append(f"{number}\n")
    assert store.read("ledger/run/x.jsonl") == "0\n1\n2\n"
    with store.writing("big.bin") as file:
        for _ in range(3):
            file.write(b"x" * 1_000_000)
    with store.reading("big.bin") as file:
        assert len(file.read()) == 3_000_000


def test_a_missing_object_is_a_store_error(bucket):
    with pytest.raises(StoreError, match="nothing"):
        Store(bucket).read("nothing.json")


def test_a_wrong_bucket_and_an_unreachable_server_are_reported(bucket):
    with pytest.raises(StoreError):
        Store("s3://no-such-bucket/data").check_writable()
