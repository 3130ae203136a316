"""Who may use the studio, and what its pages may load."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from urllib.parse import urlsplit

import pytest

from tests.conftest import CHECKOUT


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "192.0.2.7", "", "[::1", "127.0.0.1:x"])
def test_a_request_with_another_host_name_is_refused(client, host):
    """Another site can let its own name point to this machine."""
    assert client.get("/", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:9000", "localhost:4210", "[::1]:4210"])
def test_local_host_names_are_accepted_with_any_port(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1:81", "http://127.0.0.1@evil.example", "http://["])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_request_from_another_site_changes_nothing(client, origin, method):
    assert client.request(method, "/", headers={} if origin is None else {"Origin": origin}).status_code == 403


def test_the_link_signs_a_browser_in_and_removes_the_token_from_the_address(guarded):
    client = guarded
    for address in ("/", "/static/studio.css", "/nowhere", "/?token=wrong", "/?token="):
        refused = client.get(address)
        assert refused.status_code == 401
        assert "many-letters" not in refused.text
    admitted = client.get("/?token=a-token-of-many-letters&a=b")
    assert (admitted.status_code, admitted.headers["location"]) == (303, "/?a=b")
    cookie = admitted.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "many-letters" not in cookie
    assert client.get("/").status_code == 200
    client.cookies.clear()
    assert client.get("/").status_code == 401


@pytest.mark.parametrize("path", ["//evil.example/", "/\\\\evil.example/", "/%5Cevil.example/", "/%2F/evil.example/"])
def test_a_redirect_stays_within_the_studio(guarded, path):
    led = guarded.get(f"http://192.0.2.7:4210{path}?token=a-token-of-many-letters").headers["location"]
    assert led.startswith(("/evil.example/", "/%5C"))


@pytest.mark.parametrize("address", ["/", "/nowhere", "/static/studio.css", "/shared/tokens.css"])
def test_every_response_forbids_framing_and_external_resources(client, address):
    headers = client.get(address).headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src", "form-action")} == {"'self'"}
    assert (policy["frame-ancestors"], headers["x-frame-options"], headers["x-content-type-options"]) == ("'none'", "DENY", "nosniff")


def test_the_studio_starts_without_prefect_or_torch_and_ends_at_one_signal_though_a_request_does_not_end(tmp_path):
    loads = "import sys; import studio.app, flows.terminal.studio; print([name for name in ('prefect', 'torch', 'scipy', 'datasets') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", loads], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.strip() == "[]"
    words = [sys.executable, "-u", "-m", "flows.terminal", "studio", "--port", "0", "--no-open"]
    process = subprocess.Popen(
        words, cwd=CHECKOUT, env={**os.environ, "UNDERSTUDY_DATA": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        link = process.stdout.readline().split()[-1]
        with urllib.request.urlopen(link, timeout=20) as answer:
            assert "<h1>" in answer.read().decode()
        netloc = urlsplit(link).netloc
        slow = socket.create_connection((urlsplit(link).hostname, urlsplit(link).port))
        slow.sendall(f"POST /labels HTTP/1.1\r\nHost: {netloc}\r\nOrigin: http://{netloc}\r\nContent-Length: 9\r\n\r\n".encode())
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
        assert (process.returncode, said.strip()) == (143, "Stopped."), time.monotonic() - asked
        slow.close()
    finally:
        process.kill()


def test_an_address_beyond_this_machine_requires_a_token(tmp_path):
    environment = {**os.environ, "UNDERSTUDY_DATA": str(tmp_path), "UNDERSTUDY_STUDIO_TOKEN": "short"}
    words = [sys.executable, "-m", "flows.terminal", "studio", "--host", "0.0.0.0", "--port", "0", "--no-open"]
    refused = subprocess.run(words, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert "UNDERSTUDY_STUDIO_TOKEN has 5 characters" in refused.stderr
