"""Models that are loaded when first asked for and leave, least recently used first, when memory runs out."""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from leadline.serving.logs import log

T = TypeVar("T")


class ModelCache:
    """Loaded models by name.

    Args:
        load: Makes the estimator of a name; its ``nbytes`` is what it takes.
        budget_bytes: What all of them may take; the one in use stays even if it alone takes more.
    """

    def __init__(self, load: Callable[[str], Any], budget_bytes: int) -> None:
        self._load, self._budget = load, budget_bytes
        self._models: OrderedDict[str, Any] = OrderedDict()

    @property
    def names(self) -> list[str]:
        """Loaded models, least recently used first."""
        return list(self._models)

    def get(self, name: str) -> Any:
        """The estimator, loaded if need be."""
        if name not in self._models:
            self._models[name] = self.with_room(lambda: self._load(name))
        self._models.move_to_end(name)
        while len(self._models) > 1 and sum(one.nbytes for one in self._models.values()) > self._budget:
            self._drop_oldest()
        return self._models[name]

    def clear(self) -> None:
        """Let all of them go; they load again when asked for."""
        self._models.clear()
        gc.collect()

    def with_room(self, action: Callable[[], T], keep: str | None = None) -> T:
        """Do something; if memory runs out, let the least recently used model go and try again.

        Raises:
            MemoryError, torch.OutOfMemoryError: There is nothing left to let go but ``keep``.
        """
        while True:
            try:
                return action()
            except Exception as error:
                if not is_out_of_memory(error) or not any(name != keep for name in self._models):
                    raise
            self._drop_oldest(keep)  # outside the handler, whose traceback holds on to the tensors of the failure

    def _drop_oldest(self, keep: str | None = None) -> None:
        name = next(name for name in self._models if name != keep)
        del self._models[name]
        gc.collect()
        log("model left memory", model=name)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory, of the machine or of a GPU, ran out."""
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text))
    )
