"""Where an alert that is posted goes: to the address that was given and proves to be it, and nowhere else."""

from __future__ import annotations

import os
import queue
import shutil
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pytest

from farthing import Budget, FarthingError, Usage
from farthing.alerts import SIGNATURE, Webhook, signature
from farthing.records import Alert
from farthing.testing import FakeProvider, Reply
from guard.making import PATIENCE, metered

OK: dict[str, Any] = {"ok": True}

ALERT = Alert(
    id="ledger-1",
    budget="all",
    key="",
    threshold=0.5,
    limit=Decimal(1),
    spent=Decimal("0.6"),
    held=Decimal(0),
    starts_at=None,
    ends_at=None,
    raised_at=datetime(2026, 1, 1, tzinfo=UTC),
)

GUARDED = pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])


@pytest.fixture
def hook() -> Iterator[FakeProvider]:
    with FakeProvider(lambda _: Reply(body=OK)) as server:
        yield server


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    """One that the environment names, and that takes whatever is posted to it for its own."""
    with FakeProvider(
        lambda asked: Reply(body=OK, status=403 if asked.method == "CONNECT" else 200)
    ) as server:
        for name in ("http_proxy", "https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, server.base_url.removesuffix("/v1"))
        yield server


def post(url: str) -> None:
    Webhook(url).post(ALERT, "secret", 1)


def paths(server: FakeProvider) -> list[tuple[str, str]]:
    return [(request.method, request.path) for request in server.requests]


def careless(patch: pytest.MonkeyPatch) -> None:
    """The control: urllib goes where proxies and redirects send it."""
    plain = urllib.request.build_opener
    patch.setattr(urllib.request, "build_opener", lambda *_: plain())


# The address


@pytest.mark.parametrize(
    ("given", "path", "query"),
    [
        ("", "/", ""),
        ("/a b", "/a%20b", ""),
        ("/a%20b+c", "/a%20b+c", ""),
        ("/\u00fc", "/%C3%BC", ""),
        ("/x?q=\u00fc \u65e5&r=%2F", "/x", "q=%C3%BC%20%E6%97%A5&r=%2F"),
        ('/a|b;c=$1,(d)[e]{f}?g="h"#i', "/a|b;c=$1,(d)[e]{f}", 'g="h"'),
        ("/hook\n", "/hook", ""),
        ("/hook \t", "/hook", ""),
    ],
)
def test_what_an_address_names_is_asked_for_as_it_is_meant(
    hook: FakeProvider, given: str, path: str, query: str
) -> None:
    post(hook.base_url.removesuffix("/v1") + given)
    [request] = hook.requests
    assert (request.method, request.path, request.query) == ("POST", path, query)


@pytest.mark.parametrize(
    "given",
    [
        *(f"https://hooks.example.com/T0{unsendable}xyz" for unsendable in "\t\n\r\0\x1f\x7f\ud800"),
        "https://xyz\ud800@hooks.example.com/",
        "https://hooks example.com/xyz",
        "https://xyz\u00df.example.com/",
        "https://xyz\u00fc..example.com/",
    ],
    ids=ascii,
)
def test_what_cannot_be_sent_or_means_two_things_is_refused_without_repeating_it(given: str) -> None:
    with pytest.raises(FarthingError, match="alert_url is no URL") as caught:
        Webhook(given)
    assert "xyz" not in str(caught.value)


def test_a_host_beyond_ascii_is_asked_for_by_its_name_in_ascii(proxy: FakeProvider) -> None:
    with pytest.raises(URLError, match="403"):
        post("https://B\u00fccher.example.com/")
    assert [request.path for request in proxy.requests] == ["xn--bcher-kva.example.com:443"]


# Redirects and proxies


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_is_no_delivery(hook: FakeProvider, status: int) -> None:
    hook.script(Reply(status=status, body=OK, headers={"location": f"{hook.base_url}/elsewhere"}))
    with pytest.raises(HTTPError) as caught:
        post(f"{hook.base_url}/hook")
    assert caught.value.code == status
    assert paths(hook) == [("POST", "/v1/hook")]


@pytest.mark.parametrize("status", [301, 302, 303])
def test_without_the_guard_a_redirect_is_followed(
    hook: FakeProvider, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """As urllib does for these; 307 and 308 it leaves to whoever posts."""
    careless(monkeypatch)
    hook.script(Reply(status=status, body=OK, headers={"location": f"{hook.base_url}/elsewhere"}))
    post(f"{hook.base_url}/hook")
    assert paths(hook) == [("POST", "/v1/hook"), ("GET", "/v1/elsewhere")]


@GUARDED
def test_what_goes_to_this_machine_passes_no_proxy(
    hook: FakeProvider, proxy: FakeProvider, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    if not guarded:
        careless(monkeypatch)
    post(f"{hook.base_url}/hook".replace("127.0.0.1", "localhost"))
    assert (len(hook.requests), len(proxy.requests)) == ((1, 0) if guarded else (0, 1))


def test_a_proxy_on_the_way_to_another_machine_is_asked_for_a_tunnel_and_shown_nothing(
    proxy: FakeProvider,
) -> None:
    with pytest.raises(URLError, match="403"):
        post("https://me:word@hooks.example.com/T0/xyz")
    [asked] = proxy.requests
    assert (asked.method, asked.path, asked.raw) == ("CONNECT", "hooks.example.com:443", b"")
    assert asked.headers.keys() <= {"host"}


# TLS


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of `localhost` that nobody else has signed, with its key in the same file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        said = "there is no openssl to make a certificate with"
        pytest.fail(said) if os.environ.get("CI") else pytest.skip(said)
    folder = tmp_path_factory.mktemp("certificate")
    made, key = folder / "made.pem", folder / "key.pem"
    extensions = ("subjectAltName=DNS:localhost", "keyUsage=critical,digitalSignature,keyCertSign")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        + ["-keyout", str(key), "-out", str(made)]
        + [part for extension in extensions for part in ("-addext", extension)],
        check=True,
        capture_output=True,
    )
    made.write_bytes(made.read_bytes() + key.read_bytes())
    return made


class Secured(ThreadingHTTPServer):
    """A webhook behind TLS. `taken` has the path, headers and body of each request."""

    def __init__(self, certificate: Path) -> None:
        taken: queue.Queue[tuple[str, Any, bytes]] = queue.Queue()

        class Taking(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                taken.put((self.path, self.headers, body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Taking)
        self.taken = taken
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def url(self, host: str = "localhost") -> str:
        return f"https://{host}:{self.server_port}/hook?token=t"


@pytest.fixture
def secured(certificate: Path) -> Iterator[Secured]:
    with Secured(certificate) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        yield server
        server.shutdown()
        serving.join(PATIENCE)


@pytest.fixture
def trusting(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


@pytest.mark.usefixtures("trusting")
def test_https_reaches_whoever_proves_the_name_past_any_proxy(
    secured: Secured, proxy: FakeProvider, ledger_path: Path
) -> None:
    with metered(ledger_path, alert_url=secured.url()) as meter:
        meter.set_budget(Budget("all", 1, "total", alerts=(0.5,)))
        meter.record(model="gpt-4o", usage=Usage(output_tokens=60_000))
        path, headers, body = secured.taken.get(timeout=PATIENCE)
        secret = meter.alert_secret
    assert path == "/hook?token=t"
    assert b'"spentUsd": 0.6' in body
    stamp = int(headers[SIGNATURE].partition(",")[0].removeprefix("t="))
    assert headers[SIGNATURE] == signature(secret, stamp, body)
    assert secured.taken.empty()
    assert proxy.requests == []


@GUARDED
def test_a_certificate_that_nobody_trusts_gets_nothing(
    secured: Secured, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    reaches(secured, secured.url(), monkeypatch, guarded)


@GUARDED
@pytest.mark.usefixtures("trusting")
def test_a_certificate_of_another_name_gets_nothing(
    secured: Secured, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    reaches(secured, secured.url("127.0.0.1"), monkeypatch, guarded)


def reaches(secured: Secured, url: str, patch: pytest.MonkeyPatch, guarded: bool) -> None:
    """The control does not ask for a certificate, and is seen to arrive."""
    if guarded:
        with pytest.raises(URLError, match="CERTIFICATE_VERIFY_FAILED"):
            post(url)
    else:
        patch.setattr(ssl, "_create_default_https_context", ssl._create_unverified_context)
        post(url)
    assert secured.taken.qsize() == (0 if guarded else 1)
