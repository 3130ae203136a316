"""No network beyond this machine, no settings or data of the person who runs the tests."""

import gc
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import certifi
import pytest
from hypothesis import settings

from core import redaction

# one folder for all workers of a test run, and in it a home for each
_FIRST = "UNDERSTUDY_TESTS_SHARED" not in os.environ
SHARED = Path(os.environ.setdefault("UNDERSTUDY_TESTS_SHARED", tempfile.mkdtemp(prefix="understudy-tests-") if _FIRST else ""))
RUN = int(os.environ.setdefault("UNDERSTUDY_TESTS_RUN", str(os.getpid())))
"""Number of the process that started them."""
PACKAGES = SHARED / "packages"
"""What pip finds (tests/llama_sources.py)."""
_HOME = tempfile.mkdtemp(prefix="home-", dir=SHARED)
AUTHORITY = SHARED / "authority.pem"
"""The first of the authorities that certifi lists. Each client of Prefect's reads its list, and a flow makes three; without TLS none is needed."""
if _FIRST:
    AUTHORITY.write_text(
        Path(certifi.where()).read_text(encoding="utf-8").partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n", encoding="utf-8"
    )
os.environ |= {
    "PREFECT_HOME": _HOME,
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_API_SSL_CERT_FILE": str(AUTHORITY),
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HOME": f"{_HOME}/huggingface",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",  # threads of llama.cpp that wait for each other leave the core to other tests
    "PIP_NO_INDEX": "1",  # a test that would have pip fetch something from elsewhere fails
    "PIP_FIND_LINKS": str(PACKAGES),
}
# Containers often forbid compiled modules to be kept. The 150 processes that the tests start would then compile all of Prefect each: 5 s instead of 2.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# A shell ignores Ctrl-C in the programs that it starts in the background. Tests that press it need it, wherever they run.
signal.signal(signal.SIGINT, signal.default_int_handler)
# a key in the environment of the person who runs the tests is never used
_PROVIDERS = ("ANTHROPIC", "OPENAI", "OPENAI_COMPATIBLE", "GEMINI", "GOOGLE", "HF")
_AWS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL")
for _name in (
    *_AWS,
    "PREFECT_API_URL",
    "UNDERSTUDY_DATA",
    "UNDERSTUDY_PACKS",
    "HF_TOKEN",
    *(f"{name}_{end}" for name in _PROVIDERS for end in ("API_KEY", "AUTH_TOKEN", "BASE_URL")),
):
    os.environ.pop(_name, None)

# a busy machine fails no test
# every run draws other examples: few in each, and many over the days
settings.register_profile("understudy", deadline=None, max_examples=40)
settings.register_profile("fast", deadline=None, max_examples=20)
settings.load_profile("understudy")

CHECKOUT = Path(__file__).resolve().parents[1]
_connect = socket.socket.connect
_resolve = socket.getaddrinfo


def _is_here(host: object) -> bool:
    return host in (None, "", "localhost", "::1", b"localhost") or str(host).startswith("127.")


def _guarded_connect(self: socket.socket, address: object) -> None:
    if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_here(address[0]):  # ty: ignore[not-subscriptable]
        raise RuntimeError(f"A test tried to reach {address!r}. Tests use this machine only.")
    return _connect(self, address)  # ty: ignore[invalid-argument-type]


def _guarded_resolve(host: object, *arguments: object, **options: object) -> object:
    if not _is_here(host):
        raise RuntimeError(f"A test tried to look up {host!r}. Tests use this machine only.")
    return _resolve(host, *arguments, **options)  # ty: ignore[invalid-argument-type]


def needs(*modules: str) -> None:
    """Skip where one is not installed, without importing it: torch and transformers take three seconds in each process of the tests."""
    if missing := [name for name in modules if not find_spec(name)]:
        pytest.skip(f"{', '.join(missing)} not installed; run `make setup`", allow_module_level=True)


END_TO_END = ("flows", "terminal", "browser", "jobs", "test_install.py", "test_wheel.py")
"""Below tests/: what starts servers, programs, browsers and trainings."""


def pytest_xdist_auto_num_workers() -> int:
    """Three workers for two cores: a third of the time a test waits for a server, a browser or a process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + cores // 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs end to end, and run it first: its files take minutes each, and one that begins last leaves the other cores idle.

    What failed is run once more: servers, browsers and processes on a machine of unknown load miss a moment now and then. The summary lists each rerun.
    """
    for item in items:
        if item.path.relative_to(CHECKOUT / "tests").parts[0] in END_TO_END:
            item.add_marker("e2e")
            item.add_marker(pytest.mark.flaky(reruns=1))
    items.sort(key=lambda item: item.get_closest_marker("e2e") is None)


def pytest_collection_finish() -> None:
    """Leave the modules and tests, which stay to the end, out of what the garbage collector goes through."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", _guarded_connect)
    monkeypatch.setattr(socket, "getaddrinfo", _guarded_resolve)


@pytest.fixture(autouse=True)
def _forget_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test's blocks hold is no secret of the next."""
    monkeypatch.setattr(redaction, "_LEARNT", set())


@pytest.fixture(scope="session", autouse=True)
def _trust_own_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The settings that a test writes are read, here and by the commands that it starts."""
    os.environ["UNDERSTUDY_TRUST_SETTINGS"] = str(tmp_path_factory.getbasetemp())


def pytest_unconfigure() -> None:
    """Remove what the workers shared, when the last of them has ended."""
    shutil.rmtree(SHARED if _FIRST else _HOME, ignore_errors=True)


@pytest.fixture
def data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data root."""
    root = tmp_path / "data"
    monkeypatch.setenv("UNDERSTUDY_DATA", str(root))
    return root


@pytest.fixture
def pack_copy(tmp_path: Path) -> Path:
    """A root with a copy of the shipped pack, to be spoilt."""
    for folder in ("config/domains", "prompts"):
        shutil.copytree(CHECKOUT / folder / "therapeutic-coaching", tmp_path / "root" / folder / "therapeutic-coaching")
    return tmp_path / "root"


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """A data root in a bucket of a loopback server that speaks S3."""
    server_module = pytest.importorskip("moto.server", reason="moto is not installed; run `make setup`")
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed; run `make setup`")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
        for name, value in {**keys, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("rehearsals")
        yield "s3://rehearsals/data"
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()
