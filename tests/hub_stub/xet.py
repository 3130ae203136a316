"""Large files as the Hub's clients send them by default: chunks in xorbs, and a shard that lists the chunks of each file.

What comes is put together at once and kept as a whole file; downloads tell nothing of Xet, so that clients take them by plain HTTP.
"""

import hashlib
import hmac
import os
import secrets
import time
import uuid
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.hub_stub.store import Store, write
from tests.hub_stub.wire import Refused, base_of, find, store_of

KEY = secrets.token_hex(16)
RECORD = 48
"""Size in bytes of a shard's header and of each of its records."""
VERIFIED, DESCRIBED = 0x80000000, 0x40000000
"""Flags of a file in a shard: each term has a record with its hash, and a record with the file's sha256 follows."""
END = b"\xff" * 32


async def token(request: Request) -> Response:
    """GET /api/{kind}/{id}/xet-write-token/{rev}: the address and the token for sending chunks."""
    find(request, write=True)
    until = int(time.time()) + 3600
    headers = {"x-xet-cas-url": base_of(request), "x-xet-access-token": KEY, "x-xet-token-expiration": str(until)}
    return JSONResponse({"casUrl": base_of(request), "accessToken": KEY, "exp": until}, headers=headers)


async def xorb(request: Request) -> Response:
    """POST /v1/xorbs/default/{hash}."""
    _check(request)
    place = _place(store_of(request), request.path_params["hash"])
    was_there = place.exists()
    data = await request.body()
    if not list(_chunks(data)):
        raise Refused(400, "A xorb without chunks")
    write(place, data)
    return JSONResponse({"was_inserted": not was_there})


async def shard(request: Request) -> Response:
    """POST /v1/shards: assemble the listed files."""
    _check(request)
    data, store = await request.body(), store_of(request)
    for sha256, terms in _files(data):
        if not store.blob(sha256).exists():
            _put_together(store, sha256, terms)
    return JSONResponse({"result": 1})


def _check(request: Request) -> None:
    if not hmac.compare_digest(request.headers.get("authorization", ""), f"Bearer {KEY}"):
        raise Refused(401, "Unauthorized")


def _files(data: bytes) -> Iterator[tuple[str, list[tuple[str, int, int]]]]:
    """Yield each file's sha256 and its terms, each a xorb and a range of its chunks."""
    at = RECORD
    while data[at : at + 32] != END:
        flags, count = (int.from_bytes(data[at + start : at + start + 4], "little") for start in (32, 36))
        at += RECORD
        records = [data[at + RECORD * number :][:RECORD] for number in range(count)]
        terms = [(_hex(record[:32]), int.from_bytes(record[40:44], "little"), int.from_bytes(record[44:48], "little")) for record in records]
        at += RECORD * count * (2 if flags & VERIFIED else 1)
        if not flags & DESCRIBED:
            raise Refused(400, "A file without its sha256")
        yield _hex(data[at : at + 32]), terms
        at += RECORD


def _hex(digest: bytes) -> str:
    """Return a hash in Xet's notation, in which every eight bytes are one number."""
    return "".join(digest[start : start + 8][::-1].hex() for start in range(0, 32, 8))


def _put_together(store: Store, sha256: str, terms: list[tuple[str, int, int]]) -> None:
    place, digest = store.blob(sha256), hashlib.sha256()
    place.parent.mkdir(parents=True, exist_ok=True)
    half = place.with_name(f".{sha256}.{uuid.uuid4().hex}")
    try:
        with half.open("wb") as file:
            for name, start, end in terms:
                for chunk in _unpacked(_place(store, name))[start:end]:
                    file.write(chunk)
                    digest.update(chunk)
        if digest.hexdigest() != sha256:
            raise Refused(400, f"Announced sha256 {sha256}, received {digest.hexdigest()}")
        os.replace(half, place)  # noqa: PTH105
    finally:
        half.unlink(missing_ok=True)


@lru_cache(maxsize=2)
def _unpacked(xorb: Path) -> list[bytes]:
    if not xorb.exists():
        raise Refused(400, f"There is no xorb {xorb.name}")
    return list(_chunks(xorb.read_bytes()))


def _chunks(data: bytes) -> Iterator[bytes]:
    """Yield the chunks of a xorb: version, packed size, scheme and size in eight bytes, then the packed data."""
    at = 0
    while at < len(data) and data[at] == 0:
        packed, scheme, size = int.from_bytes(data[at + 1 : at + 4], "little"), data[at + 4], int.from_bytes(data[at + 5 : at + 8], "little")
        body = data[at + 8 : at + 8 + packed]
        at += 8 + packed
        match scheme:
            case 0:
                yield body
            case 1:
                yield _expanded(body, size)
            case 2:
                yield _ungrouped(_expanded(body, size))
            case _:
                raise Refused(400, f"Unknown scheme {scheme} of a chunk")


def _expanded(body: bytes, size: int) -> bytes:
    import pyarrow  # takes a tenth of a second, and few runs of the stub need it

    return pyarrow.decompress(body, size, codec="lz4", asbytes=True)


def _ungrouped(data: bytes) -> bytes:
    """Return bytes that were grouped by their position modulo four in their original order."""
    whole, start = bytearray(len(data)), 0
    for place in range(4):
        count = len(range(place, len(data), 4))
        whole[place::4] = data[start : start + count]
        start += count
    return bytes(whole)


def _place(store: Store, name: str) -> Path:
    return store.folder / "xorbs" / name


ROUTES = [
    Route("/api/{kind:kind}/{namespace}/{name}/xet-write-token/{rev}", token),
    Route("/v1/xorbs/default/{hash}", xorb, methods=["POST"]),
    Route("/v1/shards", shard, methods=["POST"]),
]
