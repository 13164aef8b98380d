"""The server in front of real networks (tiny, random weights): the same numbers as in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import leadline
from leadline.serving.client.client import Client, Refused, ServerError
from leadline.serving.protocol.settings import ServerConfig
from leadline.serving.server.server import Server

pytest.importorskip("torch")

FAMILIES = ("depthfm", "depthmaster", "fiffdepth")


@pytest.fixture(scope="module")
def address() -> object:
    here = Path(__file__).parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{here}:{here.parent}")
        models = {name: name for name in (*FAMILIES, "normals")}
        config = ServerConfig("tcp://127.0.0.1:*", models, loader="stand_in:load_tiny", device="cpu", threads=1,
                              log_level="warning")  # fmt: skip
        server = Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        yield server.address
        server.stop()
        thread.join(30)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_numbers_are_those_of_the_estimator(address: str, family: str, image: np.ndarray) -> None:
    from tiny import tiny_estimator

    here = tiny_estimator(family, seed=1).predict(image, ensemble=2, seed=3)
    with Client(address, timeout_s=240) as client:
        there = client.predict(image, model=family, ensemble=2, seed=3)
        info = {model.name: model for model in client.hello().models}[family]
    assert (there.space, there.model) == (here.space, here.model)
    assert (info.space, info.stochastic) == (here.space.value, family == "depthfm")
    np.testing.assert_allclose(there.values, here.values, atol=1e-5)
    np.testing.assert_allclose(there.uncertainty, here.uncertainty, atol=1e-5)
    assert there.meta["weights"] == here.meta["weights"]


@pytest.mark.parametrize("reply", ["float32", "float16"])
def test_normals_are_those_of_the_estimator(address: str, image: np.ndarray, reply: str) -> None:
    from tiny import tiny_normals_estimator

    here = tiny_normals_estimator().normals(image, ensemble=2)
    with Client(address, timeout_s=240) as client:
        there = client.normals(image, model="normals", ensemble=2, reply=reply)
        assert client.submit_normals(image, model="normals").result().uncertainty is None
        info = {model.name: model for model in client.hello().models}["normals"]
    assert (info.output, info.space) == ("normals", None)
    assert (there.model, there.shape) == (here.model, image.shape[:2])
    np.testing.assert_allclose(there.values, here.values, atol=1e-5 if reply == "float32" else 1e-3)
    np.testing.assert_allclose(there.uncertainty, here.uncertainty, atol=1e-5 if reply == "float32" else 2e-3)


def test_depth_and_normals_are_never_taken_for_each_other(address: str, image: np.ndarray) -> None:
    with Client(address, timeout_s=240) as client:
        with pytest.raises(Refused, match="fiffdepth gives depth, not normals") as refused:
            client.normals(image, model="fiffdepth")
        assert refused.value.code == "bad_option"
        with pytest.raises(Refused, match="normals gives normals, not depth"):
            client.predict(image, model="normals")
        with pytest.raises(Refused, match="normals travel as float32 or float16"):
            client.normals(image, model="normals", reply="png16")


def test_normals_of_a_large_picture_beside_lent_memory(address: str) -> None:
    from tiny import tiny_normals_estimator

    large = np.random.default_rng(0).integers(0, 256, (512, 640, 3), dtype=np.uint8)
    with Client(address, timeout_s=240) as client:
        for _ in range(3):  # the client borrows memory for its second large image
            there = client.normals(large, model="normals", size=64)
    np.testing.assert_allclose(there.values, tiny_normals_estimator().normals(large, size=64).values, atol=1e-5)


def test_batches_of_several_clients_get_their_own_maps(address: str) -> None:
    from tiny import tiny_estimator

    images = [np.random.default_rng(i).integers(0, 256, (48, 64, 3), np.uint8) for i in range(6)]
    estimator = tiny_estimator("depthfm", seed=1)

    def ask(i: int) -> leadline.DepthPrediction:
        with Client(address, timeout_s=240) as client:
            return client.predict(images[i], model="depthfm", seed=i, steps=1)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, range(6)))
    for i, answer in enumerate(answers):
        np.testing.assert_allclose(answer.values, estimator.predict(images[i], seed=i, steps=1).values, atol=1e-4)


def test_what_the_model_refuses_the_client_hears(address: str, image: np.ndarray) -> None:
    with Client(address, timeout_s=240) as client:
        with pytest.raises(Refused, match="exactly 1"):
            client.predict(image, model="depthmaster", steps=4)
        stop: list[Callable[[], None]] = []
        job = client.submit(image, model="depthfm", steps=64, ensemble=64, on_progress=lambda _: [s() for s in stop])
        stop.append(job.cancel)
        with pytest.raises(leadline.Cancelled):
            job.result(240)
        assert client.predict(image, model="depthfm", steps=1).shape == (48, 64)


def test_a_model_that_needs_sparse_depth_as_input_is_refused_in_words() -> None:
    models = {"needy": "depthfm-mini-completion"}
    server = Server(ServerConfig("tcp://127.0.0.1:*", models, device="cpu", threads=1, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        with Client(server.address, timeout_s=240) as client, pytest.raises(ServerError, match="take sparse depth"):
            client.predict(np.zeros((48, 64, 3), np.uint8))
    finally:
        server.stop()
        thread.join(30)


def test_a_model_says_how_large_it_is() -> None:
    from tiny import tiny_estimator

    estimator = tiny_estimator("depthfm", seed=1)
    tensors = [one for part in (estimator.model, estimator.codec) for one in (*part.parameters(), *part.buffers())]
    assert estimator.nbytes == sum({one.data_ptr(): 4 * one.numel() for one in tensors}.values())
    assert estimator.nbytes > 1_000_000


def test_maps_are_written_where_they_are_wanted(image: np.ndarray) -> None:
    from tiny import tiny_estimator

    for family in FAMILIES:
        estimator = tiny_estimator(family, seed=1)
        for size in (0, None):  # 0: the network's own size, so that nothing is resized
            plain = estimator.predict(image, size=size, ensemble=2)
            place = np.full(image.shape[:2], np.nan, np.float32)
            (written,) = estimator.predict([image], size=size, ensemble=2, out=[place])
            assert written.values is place
            np.testing.assert_allclose(place, plain.values, atol=1e-5)
        with pytest.raises(leadline.InputError, match="out needs"):
            estimator.predict([image], out=[place.T])
