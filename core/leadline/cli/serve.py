"""`leadline serve`: the inference server."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from leadline.cli.names import present_models
from leadline.cli.options import backend_option, decoder_option, speed_option
from leadline.errors import InputError

DEFAULT_LOADER = "leadline.inference.estimator:load"
KEY_RING = Path("default")  # stands for the key ring's usual folder


def _address(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"tcp://\S+:(\d+|\*)|(ipc|inproc)://.+", value):
        raise click.BadParameter(f"'{value}' is no address; give tcp://HOST:PORT or ipc://PATH")
    return value


@click.command()
@click.option(
    "--bind",
    default="tcp://127.0.0.1:5570",
    show_default=True,
    callback=_address,
    help="tcp://host:port or ipc://path; port * is any free one.",
)
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    shell_complete=present_models,
    help="Model to serve: NAME, or NAME=PATH of a checkpoint. May be repeated; the first is the default.  [default: all whose weights are here]",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="auto, cpu, cuda, or several for several replicas: cuda:0,cuda:1.",
)
@click.option("--precision", default="auto", show_default=True, help="auto, fp32, fp16, bf16 or int8.")
@click.option(
    "--compile",
    "compiled",
    type=click.Choice(["off", "kernels", "graphs"]),
    default="off",
    show_default=True,
    help="Through torch.compile, with CUDA graphs or without: minutes for each new image size, then faster.",
)
@speed_option
@decoder_option
@backend_option
@click.option("--replicas", default=1, show_default=True, type=click.IntRange(1, 256), help="Worker processes.")
@click.option(
    "--max-replicas",
    default=0,
    type=click.IntRange(0, 256),
    help="So many while there is work for them.  [default: --replicas]",
)
@click.option(
    "--requests-per-worker",
    default=4.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="With --max-replicas: requests in hand that one worker is enough for.",
)
@click.option(
    "--scale-down-s",
    default=60.0,
    show_default=True,
    type=click.FloatRange(0.0),
    help="With --max-replicas: fewer workers must be enough for so long before one leaves.",
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads per worker.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="ray: workers are actors on a Ray cluster.",
)
@click.option("--ray-address", default=None, help="The cluster; without it, RAY_ADDRESS or a cluster of this machine.")
@click.option(
    "--ray-host", default=None, help="This machine's address as the cluster's nodes see it.  [default: found by Ray]"
)
@click.option("--gpus-per-worker", default=None, type=float, help="Ray only.  [default: 1 if the cluster has GPUs]")
@click.option(
    "--max-batch",
    default=16,
    show_default=True,
    type=click.IntRange(1),
    help="Images times ensemble size in one batch.",
)
@click.option("--window-ms", default=4.0, show_default=True, help="How long an incomplete batch waits for company.")
@click.option("--queue", type=click.IntRange(1), help="Requests that may wait.  [default: 128]")
@click.option("--queue-per-client", type=click.IntRange(1), help="Requests one client may have in hand.  [default: 16]")
@click.option("--rate", type=click.FloatRange(0.1), help="Messages per second and client.  [default: 200]")
@click.option("--deadline-s", type=click.FloatRange(0.1), help="Longest a request may take in all.  [default: 600]")
@click.option("--ensemble", type=click.IntRange(1), help="Largest ensemble of a request.  [default: 64]")
@click.option("--steps", type=click.IntRange(1), help="Most network evaluations of a request.  [default: 64]")
@click.option("--size", type=click.IntRange(64), help="Longest processing edge in pixels.  [default: 4096]")
@click.option(
    "--work",
    type=click.FloatRange(0.01),
    help="Most megapixels × ensemble × steps of one request, at processing size.  [default: 64]",
)
@click.option(
    "--silence-s",
    default=6.0,
    show_default=True,
    type=click.FloatRange(1.0),
    help="A worker without a sign of life or work for so long is replaced.",
)
@click.option(
    "--hang-s",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Time for a worker to stop between two steps when nobody wants its batch any more.",
)
@click.option(
    "--step-s",
    default=60.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Longest that one step may take, and as much again for each megapixel and member.",
)
@click.option(
    "--start-s", default=120.0, show_default=True, type=click.FloatRange(1.0), help="Time for a worker to be ready."
)
@click.option(
    "--decoders", default=2, show_default=True, type=click.IntRange(1, 64), help="Processes that decode images."
)
@click.option("--megapixels", type=click.FloatRange(0.001), help="Largest image.  [default: 33.2, that is 8K]")
@click.option(
    "--memory-gb",
    type=click.FloatRange(0, min_open=True),
    default=None,
    help="For loaded models, per worker.  [default: 80 % of the GPU, half of the machine]",
)
@click.option(
    "--lend-gb",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.0),
    help="Shared memory for clients on this machine, all together; 0: pixels travel in messages.",
)
@click.option(
    "--keys",
    is_flag=False,
    flag_value=str(KEY_RING),
    default=None,
    type=click.Path(path_type=Path),
    help="Encrypt, and let in only clients with keys of this ring (see `leadline keys`).",
)
@click.option(
    "--http",
    "http_port",
    type=click.IntRange(0, 65535),
    help="Also serve HTTP at this port: POST /v1/predict, /openapi.json, and a page for people.",
)
@click.option("--http-host", default="127.0.0.1", show_default=True, help="Address for --http.")
@click.option("--insecure", is_flag=True, help="Allow an address that others can reach without keys.")
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    help="Prometheus metrics at http://HOST:PORT/metrics, and /health/live and /health/ready there.",
)
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="Address for --metrics-port.")
@click.option("--drain-s", default=30.0, show_default=True, help="Time for work in hand when asked to end.")
@click.option("--log", "log_style", type=click.Choice(["json", "text"]), default="json", show_default=True)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@click.option(
    "--loader",
    default=DEFAULT_LOADER,
    hidden=True,
    help="module:function that makes an estimator.",
)
@click.option("--announce", is_flag=True, hidden=True, help="Print the address as JSON once bound.")
@click.option("--end-with-stdin", is_flag=True, hidden=True, help="End when standard input does.")
def command(
    models: tuple[str, ...], engine: str, ray_address: str | None, ray_host: str | None, gpus_per_worker: float | None,
    max_batch: int, window_ms: float, queue: int | None, queue_per_client: int | None, rate: float | None,
    deadline_s: float | None, ensemble: int | None, steps: int | None, size: int | None, work: float | None,
    megapixels: float | None, memory_gb: float | None, lend_gb: float, keys: Path | None, announce: bool, end_with_stdin: bool, **rest: Any,
) -> None:  # fmt: skip
    """Answer depth requests of many programs with one GPU.

    One process talks to the clients; others own the models and are replaced if they die. Requests for the same model
    and size are computed together. By default only this machine can connect.
    """
    from leadline.serving.client.keys import default_folder
    from leadline.serving.logs import configure
    from leadline.serving.protocol.messages import Limits
    from leadline.serving.protocol.settings import ServerConfig
    from leadline.serving.server.run import serve

    configure(rest["log_style"], rest["log_level"])
    if rest["http_port"] is not None:
        need_http()
    given: dict[str, Any] = {
        "queue": queue,
        "queue_per_client": queue_per_client,
        "rate_per_s": rate,
        "megapixels": megapixels,
        "deadline_s": deadline_s,
        "ensemble": ensemble,
        "steps": steps,
        "size": size,
        "work": work,
    }
    limits = replace(Limits(), **{name: value for name, value in given.items() if value is not None})
    if rate is not None:
        limits = replace(limits, burst=max(1, int(2 * rate)))
    chosen = to_serve(models, rest["loader"])
    config = ServerConfig(
        models=chosen,
        max_members=max_batch,
        window_s=window_ms / 1000.0,
        limits=limits,
        memory_bytes=None if memory_gb is None else int(memory_gb * 1e9),
        lend_bytes=int(lend_gb * 2**30),
        keys=default_folder() if keys == KEY_RING else keys,
        **rest,
    )

    def tell(address: str, http_address: str | None) -> None:
        if announce:
            click.echo(json.dumps({"listening": address, "http": http_address}))
        else:
            also = f" and {http_address}" if http_address else ""
            click.echo(f"leadline: serving {', '.join(config.models)} at {address}{also}", err=True)

    parts: dict[str, Any] = {}
    if engine == "ray":
        from leadline.serving.server.ray_engine import RayLauncher

        launcher = RayLauncher(ray_address, gpus_per_worker, float(rest["threads"] or 1))
        parts = {"launcher": launcher, "workers_bind": f"tcp://{ray_host or launcher.host}:*"}
    try:
        serve(config, tell, end_with_stdin, lambda: _named(models) or _present(), **parts)
    finally:
        if "launcher" in parts:
            parts["launcher"].close()


def to_serve(models: tuple[str, ...], loader: str) -> dict[str, str]:
    """Name → what the loader takes, of the models that were named, or of all that are here.

    Raises:
        InputError, CheckpointError: One of them cannot be served.
    """
    chosen = _named(models) or _present()
    if loader == DEFAULT_LOADER:
        _check_weights(chosen)
    return chosen


def need_http() -> None:
    """Complain if what HTTP needs is not installed.

    Raises:
        InputError: It is not.
    """
    from importlib.util import find_spec

    if find_spec("fastapi") is None or find_spec("uvicorn") is None:
        raise InputError("HTTP needs packages that are not installed; run: pip install 'leadline[http]'")


def _named(models: tuple[str, ...]) -> dict[str, str]:
    """``NAME`` or ``NAME=PATH`` → what the loader takes, by name."""
    from leadline.serving.protocol.wire import is_model_name

    named: dict[str, str] = {}
    for entry in models:
        name, _, path = entry.partition("=")
        if name in named:
            raise InputError(f"model {name} is named twice")
        if not is_model_name(name):
            raise InputError(f"'{name}' cannot be asked for by that name; say --model NAME={entry}")
        named[name] = path or name
    return named


def _check_weights(models: dict[str, str]) -> None:
    """Complain about a model that cannot be loaded before the server says that it serves it.

    Raises:
        CheckpointError: Its weights are not on this computer, or nobody knows it.
    """
    from leadline.checkpoints.present import locate

    for path in models.values():
        if not Path(path).exists():
            locate(path)


def _present() -> dict[str, str]:
    """Models whose weights are on this machine, that give depth and need no more than an image."""
    from leadline.checkpoints.capabilities import all_capabilities

    return {
        name: name
        for name, one in all_capabilities().items()
        if one.present and one.output == "depth" and not one.needs_sparse_depth
    }
