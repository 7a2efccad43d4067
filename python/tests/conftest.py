from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from daemon import Daemon
from lying import Authority, Server, signing_key, spki_of

import model_vault


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes what the user's own client remembers."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("MODELVAULT_ENROLMENT", "MODELVAULT_SERVER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def connect(server: Server, tmp_path: Path) -> Iterator[Callable[..., model_vault.Client]]:
    """Clients of ``server`` over a socket that trust key 1."""
    server.on_socket(tmp_path / "vault.sock")
    clients = []

    def make(**arguments: object) -> model_vault.Client:
        given = {"socket": tmp_path / "vault.sock", "signers": [spki_of(signing_key(1))], **arguments}
        clients.append(model_vault.connect(**given))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A vault of the module's own, served by the real binary."""
    daemon = Daemon(tmp_path_factory.mktemp("d"))
    yield daemon
    daemon.stop()


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()
