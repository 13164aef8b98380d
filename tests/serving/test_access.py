from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zmq
from click.testing import CliRunner
from stand_in import expected

from leadline.cli.keys import command
from leadline.errors import InputError
from leadline.serving.client.client import AccessDenied, Client, ServingError
from leadline.serving.client.keys import ClientKeys, KeyRing, new_pair
from leadline.serving.protocol.addresses import is_local
from leadline.serving.protocol.settings import ServerConfig
from leadline.serving.server.server import Server

pytestmark = pytest.mark.skipif(not zmq.has("curve"), reason="this libzmq has no CURVE")


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("tcp://127.0.0.1:5570", True), ("tcp://127.8.0.1:*", True), ("tcp://[::1]:5570", True), ("ipc:///tmp/x", True),
        ("tcp://localhost:1", True), ("tcp://*:5570", False), ("tcp://0.0.0.0:5570", False), ("tcp://10.0.0.3:1", False),
        ("tcp://eth0:5570", False), ("tcp://127.0.0.1.example.org:1", False), ("tcp://[::]:5570", False),
    ],
)  # fmt: skip
def test_local_addresses(address: str, local: bool) -> None:
    assert is_local(address) == local


def test_an_open_address_needs_keys_or_a_word() -> None:
    with pytest.raises(InputError, match="can be reached by others"):
        Server(ServerConfig("tcp://0.0.0.0:*", {"a": "{}"}))


def test_those_with_keys_come_in_and_others_get_nothing_and_are_named(
    start: Callable[..., Server], image: np.ndarray, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ring = KeyRing(tmp_path / "ring")
    ring.add("ana", tmp_path / "ana.json")
    ring.add("ben", tmp_path / "ben.json")
    server = start(bind="tcp://0.0.0.0:*", keys=ring.folder)
    address = server.address.replace("0.0.0.0", "127.0.0.1")
    with Client(address, client_keys=tmp_path / "ana.json", timeout_s=90) as ana:
        np.testing.assert_array_equal(ana.predict(image, seed=1).values, expected(image, 1))

        stranger = ClientKeys(ring.server().public, *new_pair())
        with caplog.at_level(logging.WARNING, "leadline.serving"):
            with Client(address, client_keys=stranger, reconnect_s=3) as client, pytest.raises(AccessDenied):
                client.hello(timeout_s=10)
            with Client(address, reconnect_s=2) as client, pytest.raises(AccessDenied, match="wants keys"):
                client.hello(timeout_s=10)
        refused = [record.fields for record in caplog.records if record.message == "refused connection"]  # type: ignore[attr-defined]
        assert any(fields.get("key") == stranger.public and fields["address"] == "127.0.0.1" for fields in refused)
        assert any(fields["address"].startswith("127.0.0.1:") for fields in refused)

        ring.remove("ben")
        with Client(address, client_keys=tmp_path / "ben.json", reconnect_s=3) as ben, pytest.raises(AccessDenied):
            ben.hello(timeout_s=10)
        ana.hello()


def test_a_server_with_another_key_gets_nothing_from_us(start: Callable[..., Server], tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "ring")
    keys = ring.add("ana", tmp_path / "ana.json")
    server = start(keys=ring.folder)
    wrong = ClientKeys(new_pair()[0], keys.public, keys.secret)
    with Client(server.address, client_keys=wrong, reconnect_s=2) as client, pytest.raises(ServingError):
        client.hello(timeout_s=6)


def test_key_files_are_for_their_owner_and_are_never_overwritten(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "ring")
    keys = ring.add("ana", tmp_path / "ana.json")
    for path in (tmp_path / "ana.json", ring.folder / "server.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(ring.folder.stat().st_mode) == 0o700
    assert ring.clients() == {keys.public: "ana"}
    assert keys.secret not in (ring.folder / "clients" / "ana.json").read_text()
    with pytest.raises(InputError, match="remove it first"):
        ring.add("ana", tmp_path / "other.json")
    with pytest.raises(InputError, match="exists"):
        ring.add("ben", tmp_path / "ana.json")
    os.symlink(tmp_path / "target", tmp_path / "link.json")
    with pytest.raises(InputError):
        ring.add("carl", tmp_path / "link.json")
    for name in ("../ben", "", "a/b", ".hidden"):
        with pytest.raises(InputError, match="no name"):
            ring.add(name, tmp_path / "x.json")


def test_a_damaged_entry_lets_nobody_in(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    (tmp_path / "clients").mkdir()
    for number, text in enumerate(["", "{}", '{"public": 5}', '{"public": "short"}', "[]"]):
        (tmp_path / "clients" / f"{number}.json").write_text(text)
    assert ring.clients() == {}


def test_the_keys_command(tmp_path: Path) -> None:
    run = CliRunner().invoke
    ring = f"--ring={tmp_path / 'ring'}"
    result = run(command, ["add", "ana", f"--output={tmp_path / 'ana.json'}", ring], catch_exceptions=False)
    assert "ana may come in" in result.output
    keys = json.loads((tmp_path / "ana.json").read_text())
    assert keys["server"] == run(command, ["server", ring]).output.strip()
    assert keys["secret"] not in result.output
    assert run(command, ["list", ring]).output == f"ana\t{keys['public']}\n"
    run(command, ["add", "ben", "--public", new_pair()[0], ring], catch_exceptions=False)
    assert "ben\t" in run(command, ["list", ring]).output
    run(command, ["remove", "ana", ring], catch_exceptions=False)
    assert "ana" not in run(command, ["list", ring]).output
