"""Commits: the announcement of uploads, the commit itself, and the list of commits."""

import base64
import html
import json
from fnmatch import fnmatch

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.hub_stub.store import Entry, Repo, Store
from tests.hub_stub.wire import Json, Refused, base_of, caller_of, find, is_on, paged, revision, segment, store_of

LARGE = 10 * 1024 * 1024
"""Size in bytes from which a file counts as large, whatever its name."""


async def preupload(request: Request) -> Response:
    """POST /api/{kind}/{id}/preupload/{rev}: which files are large, and which content they have now; the client leaves out unchanged files."""
    repo, store = find(request, write=True), store_of(request)
    files, given = store.read(revision(repo, segment(request, "rev"))).files, await request.json()
    patterns, ignored = _large_patterns(store, files), _ignored(given.get("gitIgnore", ""))
    answers = []
    for asked in given["files"]:
        path, sample, there = asked["path"], base64.b64decode(asked["sample"]), files.get(asked["path"])
        large = asked["size"] >= LARGE or b"\0" in sample or any(fnmatch(path.rsplit("/", 1)[-1], pattern) for pattern in patterns)
        answer: Json = {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": any(fnmatch(path, pattern) for pattern in ignored)}
        answers.append(answer | ({"oid": there.etag} if there else {}))
    return JSONResponse({"files": answers, "commitOid": revision(repo, segment(request, "rev"))})


def _large_patterns(store: Store, files: dict[str, Entry]) -> list[str]:
    rules = files.get(".gitattributes")
    lines = store.blob(rules.sha256).read_text(encoding="utf-8").splitlines() if rules else []
    return [line.split()[0] for line in lines if "filter=lfs" in line]


def _ignored(rules: str) -> list[str]:
    return [line.strip() for line in rules.splitlines() if line.strip() and not line.startswith(("#", "!"))]


async def commit(request: Request) -> Response:
    """POST /api/{kind}/{id}/commit/{branch}, with one operation per line."""
    repo, store, branch = find(request, write=True), store_of(request), segment(request, "rev").removeprefix("refs/heads/")
    if is_on(request, "create_pr"):
        raise Refused(403, "This stub has no pull requests.")
    lines = [json.loads(line) for line in (await request.body()).splitlines() if line.strip()]
    if not lines or lines[0].get("key") != "header" or not lines[0]["value"].get("summary"):
        raise Refused(400, "A commit begins with a header that has a summary.")
    if branch not in repo.branches:
        raise Refused(404, f"Invalid rev id: {branch}", "RevisionNotFound")
    header, head = lines[0]["value"], repo.branches[branch]
    if "parentCommit" in header and revision(repo, header["parentCommit"]) != head:
        raise Refused(412, "A commit has happened since. Please refresh and try again.")
    files = dict(store.read(head).files)
    for line in lines[1:]:
        _apply(store, files, line["key"], line["value"])
    _check_paths(files)
    oid = store.commit(repo, branch, head, header["summary"], header.get("description", ""), str(caller_of(request).name), files)
    return JSONResponse({"success": True, "commitOid": oid, "commitUrl": f"{_page(request, repo)}/commit/{oid}", "hookOutput": ""})


def _page(request: Request, repo: Repo) -> str:
    return f"{base_of(request)}/{'datasets/' if repo.kind == 'dataset' else ''}{repo.id}"


def _apply(store: Store, files: dict[str, Entry], key: str, value: Json) -> None:
    path = value["path"]
    match key:
        case "file":
            content = value["content"]
            files[path] = store.put(base64.b64decode(content) if value.get("encoding") == "base64" else content.encode())
        case "lfsFile":
            entry = store.large(value["oid"])
            if entry is None or entry.size != value.get("size", entry.size):
                raise Refused(400, f"LFS pointer pointed to a file that does not exist: {path}")
            files[path] = entry
        case "deletedFile" if path in files:
            del files[path]
        case "deletedFolder" if inside := [name for name in files if name.startswith(path.rstrip("/") + "/")]:
            for name in inside:
                del files[name]
        case "deletedFile" | "deletedFolder":
            raise Refused(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        case _:
            raise Refused(400, f"Unknown operation {key!r} in a commit")


def _check_paths(files: dict[str, Entry]) -> None:
    for path in files:
        parts = path.split("/")
        if not all(parts) or {".", "..", ".git"} & {*parts} or any("/".join(parts[:count]) in files for count in range(1, len(parts))):
            raise Refused(400, f"Invalid path in a commit: {path}")


async def commits(request: Request) -> Response:
    """GET /api/{kind}/{id}/commits/{rev}, newest first."""
    repo, store, formatted, found = find(request), store_of(request), "formatted" in request.query_params.getlist("expand[]"), []
    for oid in store.history(revision(repo, segment(request, "rev"))):
        made = store.read(oid)
        item: Json = {"id": oid, "title": made.title, "message": made.message, "date": made.date, "authors": [{"user": made.user}]}
        found.append(item | ({"formatted": {"title": html.escape(made.title), "message": html.escape(made.message)}} if formatted else {}))
    return paged(request, found, min(int(request.query_params.get("limit", 50)), request.app.state.page_size))


ROUTES = [
    Route("/api/{kind:kind}/{namespace}/{name}/preupload/{rev}", preupload, methods=["POST"]),
    Route("/api/{kind:kind}/{namespace}/{name}/commit/{rev}", commit, methods=["POST"]),
    Route("/api/{kind:kind}/{namespace}/{name}/commits/{rev}", commits),
]
