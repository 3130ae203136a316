"""What a process with the Hub's clients does and finds: `python -m tests.hub_stub.visits NAME ARGUMENTS`, both sides in JSON.

A process of its own, because the clients read HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE when they are imported.
"""

import hashlib
import io
import json
import random
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download, snapshot_download
from huggingface_hub.hf_api import RepoFile

from tests.hub_stub.client import rate_limit

ROWS = [{"messages": [{"role": "user", "content": f"Grüße {number}"}, {"role": "assistant", "content": "?" * number}], "turn": number} for number in range(50)]
CARD = b"---\nlicense: mit\n---\n# Coach\n"
DATASET: dict[str, Any] = {"repo_type": "dataset"}


def refusal(call: Callable[[], Any]) -> list[Any]:
    """Return class and status of a call's error."""
    try:
        call()
    except Exception as error:
        return [type(error).__name__, getattr(getattr(error, "response", None), "status_code", None)]
    return ["none", None]


def parquet(rows: list[dict[str, Any]]) -> bytes:
    from datasets import Dataset

    Dataset.from_list(rows).to_parquet(file := io.BytesIO())
    return file.getvalue()


def publish() -> dict[str, Any]:
    from datasets import Dataset, load_dataset

    api, repo, data = HfApi(), "me/coach", parquet(ROWS)
    urls = [api.create_repo(repo, **DATASET, private=True, exist_ok=True) for _ in range(2)]
    again = refusal(lambda: api.create_repo(repo, **DATASET))
    first = api.repo_info(repo, **DATASET).sha

    def commit(content: bytes, parent: str | None, text: bytes = CARD) -> str:
        operations = [CommitOperationAdd("data/train.parquet", content), CommitOperationAdd("README.md", text)]
        return api.create_commit(repo, operations, commit_message="Rows", parent_commit=parent, **DATASET).oid

    oids = [commit(data, first), commit(data, first)]
    stale = [refusal(lambda: commit(data, first, b"---\nlicense: mit\n---\nOther\n")), refusal(lambda: commit(parquet(ROWS[:1]), first))]
    api.create_tag(repo, tag="run/1", revision=oids[0], **DATASET)
    api.create_tag(repo, tag="run/1", revision=oids[0], exist_ok=True, **DATASET)
    tagged = refusal(lambda: api.create_tag(repo, tag="run/1", revision=first, **DATASET))
    later = commit(parquet(ROWS[:2]), oids[0])
    files = [Path(hf_hub_download(repo, "data/train.parquet", revision=name, **DATASET)).read_bytes() for name in ("run/1", oids[0], "main")]
    snapshot = Path(snapshot_download(repo, revision="run/1", **DATASET))
    pushed = [Dataset.from_list(ROWS).push_to_hub("me/pushed", private=True).oid for _ in range(2)]
    info = api.dataset_info(repo, revision="run/1", files_metadata=True)
    return {
        **{
            "urls": urls,
            "again": again,
            "oids": oids,
            "later": later,
            "stale": stale,
            "tagged": tagged,
            "card": info.card_data and info.card_data.to_dict(),
            "private": info.private,
        },
        "commits": [made.title for made in api.list_repo_commits(repo, **DATASET)],
        "tags": {tag.name: tag.target_commit for tag in api.list_repo_refs(repo, **DATASET).tags},
        "files": [hashlib.sha256(file).hexdigest() for file in files],
        "expected": [hashlib.sha256(parquet(rows)).hexdigest() for rows in (ROWS, ROWS, ROWS[:2])],
        "siblings": {file.rfilename: [file.size, file.lfs and file.lfs.sha256] for file in info.siblings or []},
        "snapshot": {str(path.relative_to(snapshot)): path.stat().st_size for path in snapshot.rglob("*") if path.is_file()},
        "loaded": [load_dataset(name, split="train", revision=at).to_list() for name, at in ((repo, "run/1"), ("me/pushed", pushed[0]))],
        "pushed": pushed,
    }


def edit() -> dict[str, Any]:

    api, repo = HfApi(), "lab/model"
    api.create_repo(repo)
    additions = [CommitOperationAdd(name, name.encode()) for name in ("a/b/ü #?.txt", "a/c.txt", "d/e.gguf", "f.txt")]
    api.create_commit(repo, additions, commit_message="All")
    api.create_branch(repo, branch="side/1")
    api.create_commit(repo, [CommitOperationDelete("a/"), CommitOperationDelete("f.txt")], commit_message="Fewer", revision="side/1")
    missing = refusal(lambda: api.create_commit(repo, [CommitOperationDelete("none.txt")], commit_message="None"))
    tree = {item.path: item for item in api.list_repo_tree(repo, recursive=True, expand=True)}
    api.update_repo_settings(repo, private=True)
    found = {
        "private": api.model_info(repo).private,
        "main": sorted(tree),
        "side": api.list_repo_files(repo, revision="side/1"),
        "folder": [item.path for item in api.list_repo_tree(repo, "a")],
        "asked": [item.path for item in api.get_paths_info(repo, ["a", "a/c.txt", "none"])],
        "last": [getattr(tree[path].last_commit, "title", None) for path in (".gitattributes", "a/c.txt")],
        "text": Path(hf_hub_download(repo, "a/b/ü #?.txt")).read_text(encoding="utf-8"),
        "large": Path(hf_hub_download(repo, "d/e.gguf")).read_text(),
        "commits": [made.title for made in api.list_repo_commits(repo, revision="side/1")],
        "missing": missing,
        "errors": [
            refusal(lambda: hf_hub_download(repo, "none.txt")),
            refusal(lambda: hf_hub_download(repo, "a/c.txt", revision="none")),
            refusal(lambda: list(api.list_repo_tree(repo, "none"))),
            refusal(lambda: api.create_tag(repo, tag="t", revision="none")),
        ],
    }
    api.delete_repo(repo)
    return found | {"deleted": [api.repo_exists(repo), *refusal(lambda: api.delete_repo(repo))]}


def trespass() -> dict[str, Any]:

    reading, other, anonymous, unknown, fine = [HfApi(token=token) for token in ("hf_read", "hf_other", False, "hf_revoked", "hf_fine")]
    owner = HfApi()
    owner.create_repo("me/secret", private=True, **DATASET)
    owner.create_repo("me/open", **DATASET)

    def upload(api: HfApi, repo: str) -> list[Any]:
        return refusal(lambda: api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=repo, **DATASET))

    fine.create_repo("me/fine", **DATASET)
    return {
        "who": [[api.whoami()["name"], api.whoami()["auth"]["accessToken"]["role"]] for api in (owner, reading, fine, other)],
        "orgs": [org["name"] for org in owner.whoami()["orgs"]],
        "secret": [refusal(lambda api=api: api.repo_info("me/secret", **DATASET)) for api in (reading, other, anonymous, unknown)],
        "file": refusal(lambda: hf_hub_download("me/secret", ".gitattributes", token="hf_other", **DATASET)),
        "open": [refusal(lambda api=api: api.repo_info("me/open", **DATASET)) for api in (reading, other, anonymous)],
        "upload": [upload(*each) for each in ((reading, "me/open"), (other, "me/open"), (other, "me/secret"), (anonymous, "me/open"), (unknown, "me/open"))],
        "fine": [upload(fine, "me/fine"), upload(fine, "me/open")],
        "create": [refusal(lambda api=api: api.create_repo("me/mine", **DATASET)) for api in (reading, other, anonymous, unknown, fine)],
    }


def suffer(url: str) -> dict[str, Any]:

    api, repo = HfApi(), "me/tried"

    def with_faults(faults: list[dict[str, Any]], call: Callable[[], Any]) -> list[Any]:
        httpx2.post(f"{url}/_stub/faults", json=faults)
        return refusal(call)

    def commit(text: bytes = b"text") -> Any:
        return api.create_commit(repo, [CommitOperationAdd("x.txt", text), CommitOperationAdd("x.bin", text * 1000)], commit_message="x", **DATASET)

    def create() -> Any:
        return api.create_repo(repo, exist_ok=True, **DATASET)

    def head() -> str:
        return str(api.repo_info(repo, **DATASET).sha)

    def tag() -> Any:
        return api.create_tag(repo, tag="t", exist_ok=True, **DATASET)

    lost = [{"pattern": "/repos/create$|/commit/|/tag/", "method": "POST", "times": 1, "after": True}]
    created = [with_faults(lost, create)[0], api.repo_exists(repo, **DATASET), refusal(create)]
    before = head()
    committed, after = with_faults(lost, commit)[0], head()
    found = {"created": created, "committed": [committed, before != after, commit().oid == after], "tagged": [with_faults(lost, tag)[0], refusal(tag)]}
    gone = with_faults([{"pattern": "/commit/", "times": 1, "status": 504, "after": True}], lambda: commit(b"b"))
    found |= {"gateway": [gone, head() != after, commit(b"b").oid == head()]}
    error = with_faults([{"pattern": "/api/datasets/me/tried$", "status": 503, "times": 1}], head)
    found |= {"error": error, "served": [with_faults([{"pattern": "/preupload/", "status": 503, "times": 1}], lambda: commit(b"c"))]}
    try:
        with_faults([{"pattern": "whoami", "method": "GET", **rate_limit(7)}], lambda: None)
        api._inner_whoami("hf_write")
    except Exception as limited:
        found["limited"] = [str(limited), dict(getattr(limited, "response").headers)]  # noqa: B009
    found |= {"dropped": with_faults([{"pattern": "/refs$", "times": 1}], lambda: api.list_repo_refs(repo, **DATASET))[0]}
    large = bytes(range(256)) * 45000  # the client stores partial downloads in steps of 10 MiB
    api.upload_file(path_or_fileobj=large, path_in_repo="large.bin", repo_id=repo, **DATASET)
    httpx2.post(f"{url}/_stub/faults", json=[{"method": "GET", "pattern": "/resolve/", "cut": 11_000_000, "times": 1}])
    return found | {"resumed": Path(hf_hub_download(repo, "large.bin", **DATASET)).read_bytes() == large}


def send(folder: str) -> dict[str, Any]:
    api, repo = HfApi(), "me/large"
    kinds = {"floats.gguf": struct.pack("<300000f", *(number / 1000 for number in range(300000))), "text.bin": b"again and " * 300000, "small.bin": b"small"}
    files = kinds | {"random.bin": random.Random(1).randbytes(3_000_000)}
    files["part.bin"] = files["random.bin"][:2_000_000] + kinds["floats.gguf"]
    for name, content in files.items():
        Path(folder, name).write_bytes(content)
    api.create_repo(repo)

    def commit() -> str:
        given = [CommitOperationAdd(name, content if name in kinds else Path(folder, name)) for name, content in files.items()]
        return api.create_commit(repo, given, commit_message="Large").oid

    oids = [commit(), commit()]
    api.upload_folder(repo_id=repo, folder_path=folder, path_in_repo="folder")
    found = {name: Path(hf_hub_download(repo, name)).read_bytes() == content for name, content in files.items()}
    inside = {item.path: item.lfs and item.lfs.sha256 for item in api.list_repo_tree(repo, "folder") if isinstance(item, RepoFile)}
    expected = {f"folder/{name}": hashlib.sha256(content).hexdigest() for name, content in files.items()}
    api.delete_repo(repo)
    return {"same": oids[0] == oids[1], "equal": found, "folder": inside == expected}


def begin() -> str:
    api = HfApi()
    api.create_repo("me/kept", private=True, **DATASET)
    additions = [CommitOperationAdd("x.bin", b"large"), CommitOperationAdd("x.txt", b"small")]
    made = api.create_commit("me/kept", additions, commit_message="Begin", **DATASET).oid
    api.create_tag("me/kept", tag="kept", **DATASET)
    return made


def go_on(oid: str) -> dict[str, Any]:
    api = HfApi()
    files = [Path(hf_hub_download("me/kept", name, revision="kept", **DATASET)).read_text() for name in ("x.bin", "x.txt")]
    additions = [CommitOperationAdd("x.bin", b"large"), CommitOperationAdd("x.txt", b"other")]
    made = api.create_commit("me/kept", additions, commit_message="Go on", parent_commit=oid, **DATASET).oid
    return {"files": files, "commits": [each.commit_id for each in api.list_repo_commits("me/kept", **DATASET)][:2], "expected": [made, oid]}


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(globals()[sys.argv[1]](*json.loads(sys.argv[2]))) + "\n")
