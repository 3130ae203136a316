"""Large files by LFS (HF_HUB_DISABLE_XET=1): request an address, upload, verify."""

import hashlib
import hmac
import os
import secrets
import uuid

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.hub_stub.store import Repo
from tests.hub_stub.wire import Json, Refused, base_of, find, kind_of, store_of

KEY = secrets.token_bytes(16)
"""Key that signs upload addresses; they are valid until the process ends."""
JSON = "application/vnd.git-lfs+json"


async def batch(request: Request) -> Response:
    """POST /{id}.git/info/lfs/objects/batch: files that exist already get no address."""
    repo, given, place = find(request, write=True), await request.json(), request.url.path.removesuffix("/objects/batch")
    if given.get("operation") != "upload" or given.get("hash_algo", "sha256") != "sha256" or "basic" not in given.get("transfers", ["basic"]):
        raise Refused(400, "This stub has only basic uploads by sha256.")
    objects = [_answer(request, repo, place, item["oid"], item["size"]) for item in given["objects"]]
    return JSONResponse({"transfer": "basic", "objects": objects, "hash_algo": "sha256"}, media_type=JSON)


def _answer(request: Request, repo: Repo, place: str, oid: str, size: int) -> Json:
    if oid in repo.objects:
        return {"oid": oid, "size": size}
    put = f"{base_of(request)}/_storage/{repo.kind}s/{repo.id}/{oid}?size={size}&signature={_sign(repo, oid, size)}"
    return {"oid": oid, "size": size, "authenticated": True, "actions": {"upload": {"href": put}, "verify": {"href": f"{base_of(request)}{place}/verify"}}}


async def upload(request: Request) -> Response:
    """PUT /_storage/{kind}/{id}/{oid}: no token, since the address is signed; the file is kept only if size and sha256 are as announced."""
    oid, size, store = request.path_params["oid"], int(request.query_params["size"]), store_of(request)
    repo = store.repos.get((kind_of(request), f"{request.path_params['namespace']}/{request.path_params['name']}"))
    if repo is None or not hmac.compare_digest(request.query_params["signature"], _sign(repo, oid, size)):
        raise Refused(403, "SignatureDoesNotMatch")
    if "authorization" in request.headers:
        raise Refused(400, "Only one auth mechanism allowed: a signed address is used without a token.")
    place, digest, count = store.blob(oid), hashlib.sha256(), 0
    place.parent.mkdir(parents=True, exist_ok=True)
    half = place.with_name(f".{oid}.{uuid.uuid4().hex}")
    try:
        with half.open("wb") as file:
            async for chunk in request.stream():
                file.write(chunk)
                digest.update(chunk)
                count += len(chunk)
        if (count, digest.hexdigest()) != (size, oid):
            raise Refused(400, f"BadDigest: announced {size} bytes of sha256 {oid}, received {count} bytes of sha256 {digest.hexdigest()}")
        os.replace(half, place)  # noqa: PTH105
    finally:
        half.unlink(missing_ok=True)
    repo.objects.append(oid)
    store.save(repo)
    return Response(status_code=200, headers={"etag": f'"{oid}"'})


async def verify(request: Request) -> Response:
    """POST /{id}.git/info/lfs/verify."""
    repo, given = find(request, write=True), await request.json()
    there = store_of(request).large(given["oid"])
    if there is None or there.size != given["size"] or there.sha256 not in repo.objects:
        raise Refused(404, f"There is no object {given['oid']} of {given['size']} bytes")
    return JSONResponse({"message": "Success"}, media_type=JSON)


def _sign(repo: Repo, oid: str, size: int) -> str:
    return hmac.new(KEY, f"{repo.kind} {repo.id} {oid} {size}".encode(), hashlib.sha256).hexdigest()


ROUTES = [
    Route("/_storage/{kind:kind}/{namespace}/{name}/{oid}", upload, methods=["PUT"]),
    Route("/{kind:kind}/{namespace}/{name}.git/info/lfs/objects/batch", batch, methods=["POST"]),
    Route("/{kind:kind}/{namespace}/{name}.git/info/lfs/verify", verify, methods=["POST"]),
    Route("/{namespace}/{name}.git/info/lfs/objects/batch", batch, methods=["POST"]),
    Route("/{namespace}/{name}.git/info/lfs/verify", verify, methods=["POST"]),
]
