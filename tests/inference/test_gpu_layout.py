"""What the networks ask of a GPU: layout, attention, what works in place. On the CPU and on meta tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import tiny_bundle
from torch import Tensor, nn
from torch.nn.functional import silu
from torch.utils._python_dispatch import TorchDispatchMode

from leadline import InputError
from leadline.inference.onnx_file import export_onnx
from leadline.models import blocks
from leadline.models.attention import ImageAttention
from leadline.models.blocks import placed, streamline
from leadline.models.layers import ResidualBlock

FULL_LAST = torch.channels_last


def layout_changes(codec: Any, latents: Tensor) -> tuple[list[str], list[str]]:
    """Convolutions that get an image in another layout than a GPU's kernels want it, and all convolutions.

    On a GPU a convolution with channels-last filters gives a channels-last image, whatever it gets.
    """
    changed, every = [], []

    def watch(name: str) -> Any:
        def seen(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
            every.append(name)
            if module.kernel_size != (1, 1) and not given[0].is_contiguous(memory_format=FULL_LAST):  # type: ignore[attr-defined]
                changed.append(name)
            return out.contiguous(memory_format=FULL_LAST)

        return seen

    for name, module in codec.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(watch(name))
    codec.decode(latents)
    return changed, every


def test_nothing_but_group_normalisation_gives_up_the_layout() -> None:
    """PyTorch's own kernel does; every convolution that is not behind one gets what it wants."""
    bundle = tiny_bundle("fiffdepth")
    codec = placed(bundle.codec, torch.device("meta"), torch.float16)
    streamline(codec, exact_cpu=False)
    latents = torch.zeros(4, 4, 16, 16, device="meta", dtype=torch.float16).contiguous(memory_format=FULL_LAST)
    changed, every = layout_changes(codec, latents)
    behind_a_norm = [name for name in every if name.endswith((".conv1", ".conv2", "conv_out"))]
    assert changed
    assert set(changed) <= set(behind_a_norm), changed
    assert len(every) > len(changed)


class Sizes(TorchDispatchMode):
    """The largest tensor that any operation makes, in numbers."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, tuple | list) else (out,):
            if isinstance(one, Tensor):
                self.largest = max(self.largest, one.numel())
        return out


def test_attention_over_all_pixels_never_makes_the_matrix_of_pairs() -> None:
    """Heads as wide as the decoder's one are slow kernels' ground on GPUs, but no plain products: 4096² pixels would be 16 million."""
    attention = ImageAttention(512, groups=32, eps=1e-6).eval()
    with torch.no_grad(), Sizes() as sizes:
        attention(torch.zeros(1, 512, 64, 64))
    assert sizes.largest <= 4 * 512 * 64 * 64
    assert sizes.largest < (64 * 64) ** 2


@pytest.mark.parametrize("layout", [torch.contiguous_format, FULL_LAST])
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "part of a larger image"])
def test_what_works_in_place_changes_only_what_it_made(
    layout: torch.memory_format, cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no device's in-place kernel ever sees an image that somebody else reads, or one with gaps."""
    torch.manual_seed(0)
    block = ResidualBlock(16, 16, groups=4, eps=1e-6).eval()
    x = torch.randn(2, 16, 12, 12).contiguous(memory_format=layout)
    x = x[..., 2:10, 1:9] if cut else x
    before, changed = x.clone(), []

    def watched(image: Tensor, inplace: bool = False) -> Tensor:
        if inplace:
            changed.append(image)
        return silu(image, inplace)

    monkeypatch.setattr(blocks, "silu", watched)
    with torch.no_grad():
        expected = block(x)
        got = blocks.Residual(block)(x)
    torch.testing.assert_close(got, expected)
    assert torch.equal(x, before)
    assert len(changed) == 2
    for image in changed:
        assert image.data_ptr() != x.data_ptr()
        assert image.is_contiguous() or image.is_contiguous(memory_format=FULL_LAST)


def test_export_refuses_a_model_that_is_not_on_the_cpu(tmp_path: Any) -> None:
    """Export and its check run on the CPU, whatever else there is."""
    bundle = tiny_bundle("fiffdepth")
    bundle.model.register_buffer("prompt", bundle.model.prompt.to("meta"), persistent=False)  # stands for a GPU
    with pytest.raises(InputError, match="on the CPU"):
        export_onnx(bundle, tmp_path / "model.onnx", 64, 64)
    assert not list(tmp_path.iterdir())
