"""One forward of a timm model that gives logits, embedding and feature maps.

No layer is named by hand: timm's `forward_intermediates` gives the maps, a dry forward measures their
channels and strides (`feature_info` still tells the old ones after a stem change), and a hook on the
classifier reads the embedding that enters it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from compressor.errors import UsageError
from compressor.models.outputs import Outputs, Tap


def forward(model: nn.Module, images: Tensor, *, embedding: bool = False, taps: tuple[int, ...] = ()) -> Outputs:
    """One forward of a timm model.

    Args:
        model: any timm classifier.
        images: (batch, 3, height, width), normalised.
        embedding: whether to read the pooled embedding.
        taps: indices for `forward_intermediates`; ascending.
    """
    with _classifier_input(model, embedding) as seen:
        if taps:
            features, maps = model.forward_intermediates(  # type: ignore[operator]
                images, indices=list(taps), output_fmt="NCHW"
            )
            logits = model.forward_head(features)  # type: ignore[operator]
        else:
            logits, maps = model(images), ()
    if isinstance(logits, tuple):  # a distilled DeiT in training gives both heads
        logits = torch.stack(logits).mean(0)
    return Outputs(logits=logits, embedding=seen[0].flatten(1) if seen else None, maps=tuple(maps))


@contextmanager
def _classifier_input(model: nn.Module, wanted: bool) -> Iterator[list[Tensor]]:
    seen: list[Tensor] = []
    if not wanted:
        yield seen
        return
    classifier = model.get_classifier()  # type: ignore[operator]
    head = classifier[0] if isinstance(classifier, tuple | list) else classifier

    def remember(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen[:] = [inputs[0]]

    handle = head.register_forward_pre_hook(remember)
    try:
        yield seen
    finally:
        handle.remove()


@torch.no_grad()
def measure(model: nn.Module, size: int) -> tuple[list[Tap], int]:
    """The model's taps by a dry forward at `size` pixels, and its embedding's channels.

    The model and its statistics are left as they were.

    Raises:
        UsageError: timm offers no intermediate features for the architecture.
    """
    training = model.training
    model.eval()
    example = next(model.parameters())
    images = torch.zeros(1, 3, size, size, device=example.device, dtype=example.dtype)
    try:
        if not hasattr(model, "forward_intermediates"):
            raise UsageError(f"{type(model).__name__} offers no intermediate features (forward_intermediates)")
        _, maps = model.forward_intermediates(images, output_fmt="NCHW")  # type: ignore[operator]
        outputs = forward(model, images, embedding=True)
    finally:
        model.train(training)
    assert outputs.embedding is not None
    taps = [Tap(index=i, channels=m.shape[1], stride=size / m.shape[-1], side=m.shape[-1]) for i, m in enumerate(maps)]
    return taps, outputs.embedding.shape[1]
