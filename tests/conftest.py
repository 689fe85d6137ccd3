"""What holds for every test: nothing leaves the machine, and nothing of the user's is read or written."""

from __future__ import annotations

import gc
import ipaddress
import itertools
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

import certifi
import pytest
from hypothesis import settings

from farthing import log
from farthing.testing import FakeProvider

settings.register_profile("farthing", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("farthing")

_PRIVATE = ("FARTHING_", "OPENAI_", "AZURE_OPENAI_", "ANTHROPIC_", "XDG_")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_HOMES = ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA")


def pytest_configure():
    """A shell that runs the suite in the background has it, and all that it starts, ignore Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish():
    """What stays until the end is not looked at by each collection of the tests that ask for one (0.4 s)."""
    gc.collect()
    gc.freeze()


class NetworkRefused(AssertionError):
    """A test tried to reach something that is not on this machine."""


def _on_this_machine(host: object) -> bool:
    if host is None or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


@pytest.fixture(scope="session", autouse=True)
def _loopback_only():
    """Lets sockets reach loopback addresses and Unix sockets only; yields the list of what else was tried."""
    tried: list[str] = []

    def check(what: str, host: object) -> None:
        shown = host.decode("ascii", "replace") if isinstance(host, bytes) else host
        if not _on_this_machine(shown):
            tried.append(f"{what}({shown!r})")
            raise NetworkRefused(f"tests stay on this machine, but this one tried {tried[-1]}")

    def guarded(name: str):
        inner = getattr(socket.socket, name)

        def method(self: socket.socket, address):
            if self.family in (socket.AF_INET, socket.AF_INET6):
                check(name, address[0])
            return inner(self, address)

        return method

    look_up = socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):
        check("getaddrinfo", host)
        return look_up(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded("connect"))
        patch.setattr(socket.socket, "connect_ex", guarded("connect_ex"))
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        yield tried


@pytest.fixture(autouse=True)
def network_tries(_loopback_only):
    """What the test tried to reach elsewhere: unless it clears the list it fails, even if it caught it."""
    _loopback_only.clear()
    yield _loopback_only
    if _loopback_only:
        refused = ", ".join(_loopback_only)
        raise NetworkRefused(f"tests stay on this machine, but this one tried {refused}")


@pytest.fixture(scope="session")
def _homes(tmp_path_factory):
    base = tmp_path_factory.mktemp("homes")
    return (base / str(number) for number in itertools.count())


@pytest.fixture(scope="session", autouse=True)
def _temporary():
    """A folder for what is temporary: in that of the machine, others may have left what was spilled."""
    with (
        tempfile.TemporaryDirectory(prefix="farthing-tests-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        Path(folder).chmod(0o755)
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", None)
        yield Path(folder)


@pytest.fixture(scope="session")
def _one_root(_temporary):
    """A file with one certificate authority: each client reads all that are trusted, which takes 25 ms."""
    one, end, _ = Path(certifi.where()).read_text("utf-8").partition("-----END CERTIFICATE-----\n")
    path = _temporary / "one.pem"
    path.write_text(one + end, "utf-8")
    return path


@pytest.fixture(autouse=True)
def home(_homes, _one_root, monkeypatch):
    """An empty home of the test's own, and no setting, key or proxy of the user's in the environment."""
    for name in list(os.environ):
        if name.startswith(_PRIVATE) or name.lower() in _PROXIES:
            monkeypatch.delenv(name)
    place = next(_homes)
    place.mkdir()
    for name in _HOMES:
        monkeypatch.setenv(name, str(place))
    monkeypatch.setenv("SSL_CERT_FILE", str(_one_root))  # no test talks to whom these would vouch for
    return place


@pytest.fixture
def ledger_path(tmp_path):
    """Where a ledger can be made."""
    return tmp_path / "ledger.db"


@pytest.fixture
def provider():
    """A provider of the test's own, on 127.0.0.1."""
    with FakeProvider() as fake:
        yield fake


@pytest.fixture(autouse=True)
def no_default_meter():
    """Each test finds, and leaves, a process without a default meter and nothing said yet."""
    yield
    default = sys.modules.get("farthing.meter.default")
    if default is not None:
        if default._meter is not None:
            default._meter.close()
        default._meter, default._given = None, {}
    log._said.clear()
