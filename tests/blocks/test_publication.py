"""What is published, and where: private stays private, a moved repository is not written to, and a tag is where it is said to be."""

import huggingface_hub.constants
import pytest
from huggingface_hub import HfApi
from pydantic import SecretStr

from blocks.hf_hub import HfHub
from core.errors import HubError
from tests.hub_stub.client import start_hub

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the Hub's own client, when it uploads a file

FILES = {"rows.bin": b"PAR1rows", "README.md": b"---\nlicense: unknown\n---\n# Card\n"}
MORE = FILES | {"rows.bin": b"PAR1other rows"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with start_hub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture
def hub(server, monkeypatch):
    server.reset()
    server.faults()
    server.clear_log()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return server


def block(hub, token="hf_write"):
    return HfHub(endpoint=hub.url, token=SecretStr(token), attempts=2)


def api_of(hub):
    return HfApi(endpoint=hub.url, token="hf_write")


def head(hub, kind="dataset"):
    return api_of(hub).repo_info("me/coach", repo_type=kind).sha


@pytest.mark.parametrize("kind", ["dataset", "model"])
def test_what_is_private_is_never_pushed_into_a_public_repository(hub, kind):
    api_of(hub).create_repo("me/coach", repo_type=kind, private=False)
    before = head(hub, kind)
    with pytest.raises(HubError, match=r"me/coach is public"):
        block(hub).push("me/coach", kind, FILES, "First", "run-1", private=True)
    assert head(hub, kind) == before
    block(hub).push("me/coach", kind, FILES, "First", "run-1", private=False)
    assert head(hub, kind) != before


def test_a_repository_that_becomes_public_while_files_are_uploaded_gets_no_commit(hub):
    block(hub).push("me/coach", "dataset", FILES, "First", "run-1", private=True)
    before, mine = head(hub), block(hub)
    api, client = api_of(hub), mine.get_client()

    def upload(*given, **named):
        api.update_repo_settings("me/coach", repo_type="dataset", visibility="public")
        return HfApi.preupload_lfs_files(client, *given, **named)

    client.preupload_lfs_files = upload
    object.__setattr__(mine, "get_client", lambda: client)
    with pytest.raises(HubError, match="is public"):
        mine.push("me/coach", "dataset", MORE, "Second", "run-2", private=True)
    assert head(hub) == before


def test_a_private_repository_stays_private_where_the_settings_would_have_it_public(hub):
    block(hub).push("me/coach", "dataset", FILES, "First", "run-1", private=True)
    block(hub).push("me/coach", "dataset", MORE, "Second", "run-2", private=False)
    assert api_of(hub).repo_info("me/coach", repo_type="dataset").private


def test_a_tag_that_points_elsewhere_is_moved_to_what_was_pushed(hub):
    first = block(hub).push("me/coach", "dataset", FILES, "First", "card", private=True)
    second = block(hub).push("me/coach", "dataset", MORE, "Second", "card", private=True)
    assert first.oid != second.oid == api_of(hub).repo_info("me/coach", repo_type="dataset", revision="card").sha


def test_a_tag_that_the_hub_did_not_keep_is_an_error(hub):
    hub.faults({"pattern": "/tag/", "status": 201, "body": {"name": "run-1"}})
    with pytest.raises(HubError, match="tag run-1"):
        block(hub).push("me/coach", "dataset", FILES, "First", "run-1", private=True)


def test_a_repository_that_was_renamed_is_not_written_to_under_its_old_name(hub):
    block(hub).push("me/other", "dataset", FILES, "First", "run-1", private=True)
    before = api_of(hub).repo_info("me/other", repo_type="dataset").sha
    hub.faults({"pattern": "/api/datasets/me/coach$", "status": 307, "headers": {"location": "/api/datasets/me/other"}})
    with pytest.raises(HubError, match="me/coach is called me/other now"):
        block(hub).push("me/coach", "dataset", MORE, "Second", "run-2", private=True)
    assert api_of(hub).repo_info("me/other", repo_type="dataset").sha == before
