"""What the front tells a worker when it starts it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker needs to know.

    Attributes:
        name: Its routing id at the front.
        endpoint: Of the front.
        models: Name → what the loader takes.
        loader: ``module:function``; called as ``function(source, device=, precision=)``, returns an estimator.
        index: Which of the workers it is, from 0.
        spread: There are several workers: take the GPU of this index if the device names none.
        megapixels: Largest image, decoded.
        memory_bytes: Budget for the weights of loaded models; None: most of the GPU's memory, or half of the machine's.
        arena: Descriptor and size of the shared memory; None without.
        front: Process whose descriptors of lent blocks are opened here.
        compiled, speed, backend, decoder: As for ``leadline.load``; passed on where they are not the default.
        keys: Server's public, own public, own secret, for fronts on other machines; None without.
    """

    name: str
    endpoint: str
    models: dict[str, str]
    loader: str
    device: str
    precision: str
    megapixels: float
    index: int = 0
    spread: bool = False
    memory_bytes: int | None = None
    arena: tuple[int, int] | None = None
    front: int | None = None
    keys: tuple[str, str, str] | None = None
    compiled: str = "off"
    speed: str = "full"
    backend: str = "auto"
    decoder: str = "full"
    log_style: str = "json"
    log_level: str = "info"

    @property
    def interruptible(self) -> bool:
        """Whether a network may be entered again before it is done: neither compiled ones may, nor OpenVINO's, which
        ``speed`` may choose."""
        return self.compiled == "off" and (self.backend == "torch" or (self.backend == "auto" and self.speed == "full"))
