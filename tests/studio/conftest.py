"""The studio over a data root, with a client in place of a browser."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from core.storage.store import Store
from studio.app import build_app

OWN = "http://127.0.0.1"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "data"))


@pytest.fixture
def client(store: Store) -> TestClient:
    """A browser on this machine."""
    return TestClient(build_app(store), base_url=OWN)


@pytest.fixture
def guarded(store: Store) -> TestClient:
    """A browser elsewhere, of a studio that asks for a token."""
    app = build_app(store, "a-token-of-many-letters", addresses=True)
    return TestClient(app, base_url="http://192.0.2.7:4210", follow_redirects=False)
