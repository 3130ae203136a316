"""Publication: private files stay private, a renamed repository is not written to, and each tag points at the pushed commit."""

import huggingface_hub.constants
import pytest
from huggingface_hub import HfApi
from pydantic import SecretStr

from blocks.hf_hub import HfHub
from core.errors import HubError
from core.records import Publication
from tests.hub_stub.client import start_hub

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the Hub's own client, when it uploads a file

FILES = {"rows.bin": b"PAR1rows", "README.md": b"---\nlicense: unknown\n---\n# Card\n"}
MORE = FILES | {"rows.bin": b"PAR1other rows"}


TOKENS = {
    "hf_write": {"user": "me", "role": "write"},
    "hf_read": {"user": "me", "role": "read"},
    "hf_member": {"user": "me", "role": "write", "orgs": ["acme"], "org_role": "contributor"},
    "hf_guest": {"user": "me", "role": "write", "orgs": ["acme"], "org_role": "read"},
    "hf_scoped": {"user": "me", "role": "fineGrained", "orgs": ["acme"], "writes": ["me/there", "acme"], "jobs": ["acme"]},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with start_hub(tmp_path_factory.mktemp("hub"), tokens=TOKENS) as hub:
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
def test_private_files_are_never_pushed_to_a_public_repository(hub, kind):
    api_of(hub).create_repo("me/coach", repo_type=kind, private=False)
    before = head(hub, kind)
    with pytest.raises(HubError, match=r"me/coach is public"):
        block(hub).push("me/coach", kind, FILES, "First", "run-1", private=True)
    assert head(hub, kind) == before
    block(hub).push("me/coach", kind, FILES, "First", "run-1", private=False)
    assert head(hub, kind) != before


def test_a_repository_made_public_during_the_upload_gets_no_commit(hub):
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


def test_a_private_repository_stays_private_if_the_settings_say_public(hub):
    block(hub).push("me/coach", "dataset", FILES, "First", "run-1", private=True)
    block(hub).push("me/coach", "dataset", MORE, "Second", "run-2", private=False)
    assert api_of(hub).repo_info("me/coach", repo_type="dataset").private


def test_an_existing_tag_is_moved_to_the_new_commit(hub):
    first = block(hub).push("me/coach", "dataset", FILES, "First", "card", private=True)
    second = block(hub).push("me/coach", "dataset", MORE, "Second", "card", private=True)
    assert first.oid != second.oid == api_of(hub).repo_info("me/coach", repo_type="dataset", revision="card").sha


def test_pushed_files_are_found_by_tag_only_while_the_hub_still_has_them(hub):
    def found(tag="run-1", files=FILES, repo="me/coach"):
        return block(hub).find(repo, "dataset", files, tag)

    assert found() is None
    pushed = block(hub).push("me/coach", "dataset", FILES, "First", "run-1", private=True)
    assert found() == pushed
    assert [found(files=MORE), found("run-2"), found(repo="me/other")] == [None] * 3
    later = block(hub).push("me/coach", "dataset", MORE, "Second", "run-2", private=True)
    assert found() == pushed  # main has moved on; the tag has not
    api_of(hub).delete_tag("me/coach", tag="run-1", repo_type="dataset")
    assert found() is None
    api_of(hub).create_tag("me/coach", tag="run-1", revision=later.oid, repo_type="dataset")
    assert found() is None
    api_of(hub).delete_repo("me/coach", repo_type="dataset")
    assert found("run-2", MORE) is None


def test_a_tag_missing_after_the_push_is_an_error(hub):
    hub.faults({"pattern": "/tag/", "status": 201, "body": {"name": "run-1"}})
    with pytest.raises(HubError, match="tag run-1"):
        block(hub).push("me/coach", "dataset", FILES, "First", "run-1", private=True)


def test_a_push_to_the_old_name_of_a_renamed_repository_is_refused(hub):
    block(hub).push("me/other", "dataset", FILES, "First", "run-1", private=True)
    before = api_of(hub).repo_info("me/other", repo_type="dataset").sha
    hub.faults({"pattern": "/api/datasets/me/coach$", "status": 307, "headers": {"location": "/api/datasets/me/other"}})
    with pytest.raises(HubError, match="me/coach is now called me/other"):
        block(hub).push("me/coach", "dataset", MORE, "Second", "run-2", private=True)
    assert api_of(hub).repo_info("me/other", repo_type="dataset").sha == before


def wanted(*repos, private=True, license="mit"):
    return [Publication(repo=repo, kind="model", private=private, license=license) for repo in repos]


def reported(hub, token, *repos, **more):
    return [str(problem) for problem in block(hub, token).problems(wanted(*repos, **more))[0]]


@pytest.mark.parametrize(
    ("token", "repos", "reasons"),
    [
        ("hf_read", ["me/new"], ["is read-only"]),
        ("hf_write", ["acme/new"], ["in 'acme', where the token of me has no write access. Allowed: me."]),
        ("hf_guest", ["acme/new", "me/new"], ["in 'acme', where me has only read access"]),
        ("hf_member", ["acme/new", "me/new"], []),
        ("hf_scoped", ["me/there", "acme/new"], []),
        ("hf_scoped", ["me/new"], ["fine-grained token of me has no permission to create the repository me/new"]),
        ("hf_scoped", ["me/closed"], ["answered 403 while asking whether the token may write to me/closed"]),
        (
            "hf_write",
            ["me/open", "me/a--b", "you/x", "me/" + "x" * 97],
            ["me/open is public", "not a valid repository name", "in 'you'", "not a valid repository name"],
        ),
    ],
)
def test_all_missing_permissions_of_a_token_are_reported_together_before_any_change(hub, token, repos, reasons):
    for repo in ("me/there", "me/closed"):
        api_of(hub).create_repo(repo, private=True)
    api_of(hub).create_repo("me/open", private=False)
    hub.clear_log()
    found = reported(hub, token, *repos)
    assert len(found) == len(reasons), found
    assert all(reason in problem for reason, problem in zip(reasons, found, strict=True)), found
    assert [item for item in hub.log() if "whoami" in item["path"]][1:] == []
    assert not [item for item in hub.log() if item["method"] != "GET" and "validate" not in item["path"]]


@pytest.mark.parametrize(
    ("token", "namespace", "reason"),
    [("hf_scoped", "me", "no permission to start jobs in me"), ("hf_scoped", "acme", None), ("hf_guest", "acme", "only read access")],
)
def test_a_missing_permission_to_start_jobs_is_reported_before_any_job(hub, token, namespace, reason):
    account = block(hub, token).account()
    if reason is None:
        account.run_jobs(namespace)
        return
    with pytest.raises(HubError, match=reason):
        account.run_jobs(namespace)


def test_a_licence_unknown_to_the_hub_is_reported_before_any_change(hub):
    (problem,) = reported(hub, "hf_write", "me/new", license="my-own")
    assert "does not know the licence 'my-own' (base.license" in problem


def test_a_private_repository_is_noted_if_the_settings_say_public(hub):
    api_of(hub).create_repo("me/coach", private=True)
    problems, notes = block(hub).problems(wanted("me/coach", private=False))
    assert (problems, notes) == ([], ["me/coach is private and stays private, although the settings ask for a public repository."])


def test_a_gated_base_whose_terms_are_not_accepted_is_reported(hub):
    api_of(hub).create_repo("me/base", private=False)
    block(hub).read_access("me/base")
    gated = {"status": 403, "headers": {"X-Error-Code": "GatedRepo"}, "body": {"error": "Access to model me/base is restricted."}}
    hub.faults({"pattern": "/auth-check$", **gated})
    with pytest.raises(HubError, match=r"me/base is gated. Accept its terms at .*/me/base"):
        block(hub).read_access("me/base")
    hub.faults()
    with pytest.raises(HubError, match="has no model me/nothing"):
        block(hub).read_access("me/nothing")
