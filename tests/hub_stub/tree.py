"""The content of a commit: listings, and information about single paths."""

import hashlib
from urllib.parse import parse_qs, unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.hub_stub.store import Entry, Store
from tests.hub_stub.wire import Json, Refused, find, folders, is_on, paged, revision, segment, store_of


async def tree(request: Request) -> Response:
    """GET /api/{kind}/{id}/tree/{rev}/{path}: a folder; with `recursive` everything below it, with `expand` the last commit of each path."""
    store, oid = store_of(request), revision(find(request), segment(request, "rev"))
    files, path = store.read(oid).files, unquote(request.path_params.get("path", "")).strip("/")
    inside = f"{path}/" if path else ""
    names = [name for name in (*folders(files), *files) if name.startswith(inside)]
    if not names and path:
        raise Refused(404, f"{path} does not exist on {segment(request, 'rev')}", "EntryNotFound", {"x-repo-commit": oid})
    names = sorted(name for name in names if is_on(request, "recursive") or "/" not in name[len(inside) :])
    expand, most = is_on(request, "expand"), request.app.state.page_size
    return paged(request, [_described(store, oid, name, expand) for name in names], min(50, most) if expand else most)


async def paths_info(request: Request) -> Response:
    """POST /api/{kind}/{id}/paths-info/{rev}, sent as a form; a path that does not exist is left out."""
    store, oid, body = store_of(request), revision(find(request), segment(request, "rev")), await request.body()
    if "json" in request.headers.get("content-type", ""):
        given = await request.json()
        paths, expand = given["paths"], bool(given.get("expand"))
    else:
        form = parse_qs(body.decode())
        paths, expand = form.get("paths", []), form.get("expand", [""])[0].lower() == "true"
    there = {*folders(store.read(oid).files), *store.read(oid).files}
    wanted = dict.fromkeys(path.strip("/") for path in paths)
    return JSONResponse([_described(store, oid, path, expand) for path in wanted if path in there])


def _described(store: Store, oid: str, path: str, expand: bool) -> Json:
    entry = store.read(oid).files.get(path)
    if entry is None:
        found: Json = {"type": "directory", "oid": _folder_hash(store, oid, path), "size": 0, "path": path}
    else:
        found = {"type": "file", "oid": entry.oid, "size": entry.size, "path": path}
    if entry and entry.lfs:
        found["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
    if expand:
        last = _last_change(store, oid, path)
        found["lastCommit"] = {"id": last, "title": store.read(last).title, "date": store.read(last).date}
    return found


def _content(store: Store, oid: str, path: str) -> dict[str, Entry]:
    return {name: entry for name, entry in store.read(oid).files.items() if name == path or name.startswith(f"{path}/")}


def _folder_hash(store: Store, oid: str, path: str) -> str:
    """Return a hash of the folder's content; git computes its own differently."""
    return hashlib.sha1(repr(sorted((name, entry.oid) for name, entry in _content(store, oid, path).items())).encode()).hexdigest()


def _last_change(store: Store, oid: str, path: str) -> str:
    wanted, last = _content(store, oid, path), oid
    for earlier in store.history(oid)[1:]:
        if _content(store, earlier, path) != wanted:
            break
        last = earlier
    return last


ROUTES = [
    Route("/api/{kind:kind}/{namespace}/{name}/tree/{rev}", tree),
    Route("/api/{kind:kind}/{namespace}/{name}/tree/{rev}/{path:path}", tree),
    Route("/api/{kind:kind}/{namespace}/{name}/paths-info/{rev}", paths_info, methods=["POST"]),
]
