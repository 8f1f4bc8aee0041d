"""From an architecture's description to a module."""

from __future__ import annotations

import inspect
import warnings
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from compressor.artifact.images import ImagePreprocessing
from compressor.errors import UsageError, first_line
from compressor.models import cost, hub
from compressor.models.architecture import Architecture
from compressor.models.timm.cpu_fixes import fix_gradients
from compressor.packages import import_timm
from compressor.section import LARGEST_IMAGE, LONGEST

SMALL_IMAGE = 48  # pixels; at and below, `stem: auto` keeps the resolution in the first convolution


class TimmArchitecture(Architecture):
    """A timm model, possibly with a changed stem."""

    family: str = "timm"
    name: str = Field(max_length=LONGEST)
    """timm's name, or `hf-hub:…`."""
    image_size: int = Field(ge=1, le=2 * LARGEST_IMAGE)
    stem: Literal["keep", "stride1"] = "keep"

    changes: ClassVar[tuple[str, ...]] = ("stem",)


def decide_stem(name: str, wanted: str, image_size: int) -> Literal["keep", "stride1"]:
    """`stem: auto` made definite: `stride1` for small images where the architecture allows it.

    Raises:
        UsageError: `stride1` was asked for and the first convolution does not halve the resolution.
    """
    if wanted == "keep" or (wanted == "auto" and image_size > SMALL_IMAGE):
        return "keep"
    if _adaptable(name, image_size):
        return "stride1"
    if wanted == "stride1":
        raise UsageError(
            f"stem: stride1 is not possible for {name}: its first convolution does not have stride 2, or not alone.\n"
            "Use stem: keep, or a larger data.image_size."
        )
    return "keep"


def build(architecture: TimmArchitecture) -> nn.Module:
    """See `Family.build`; in channels_last, which trains and runs faster on CPU and GPU alike."""
    model = _create(architecture.name, classes=architecture.classes, image_size=architecture.image_size)
    if architecture.stem == "stride1":
        convolution = _stem_convolution(model)
        assert convolution is not None
        _keep_resolution(convolution)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    fix_gradients(model)
    return model


def _create(name: str, *, classes: int, image_size: int) -> nn.Module:
    timm = import_timm()
    remote = ":" in name  # the architecture itself is described on the hub
    online = not remote or hub.reachable()
    try:
        with warnings.catch_warnings(), hub.offline(remote and not online):
            warnings.simplefilter("ignore")
            options: dict[str, Any] = {"img_size": image_size} if takes_image_size(name) else {}
            model: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, **options)
    except MemoryError:
        raise
    except Exception as error:  # the hub's clients raise many kinds, and so do constructors
        if not remote:
            raise UsageError(
                f"model '{name}' can't be built for {image_size}-pixel images: {first_line(error)}"
            ) from error
        reason = hub.reason(error) if online else "the model hub can't be reached"
        raise UsageError(
            f"model '{name}' can't be built: {reason}.\nGive a timm name or a local checkpoint."
        ) from error
    return model


def takes_image_size(name: str) -> bool:
    """Whether the architecture is built for one input size (ViT, Swin and their kin).

    What a hub's name means is read from its `config.json` there; its client's errors pass through.
    """
    import_timm()
    from timm import models

    source, own = models.parse_model_name(name)
    if source:
        stored, own, _ = models.load_model_config_from_hf(own)
        fixed = bool(stored.get("fixed_input_size"))
    else:
        config = models.get_pretrained_cfg(own, allow_unregistered=True) if models.is_model(own.split(".")[0]) else None
        fixed = bool(config and config.fixed_input_size)
    if not fixed or not models.is_model(own.split(".")[0]):
        return False
    module = inspect.getmodule(models.model_entrypoint(own.split(".")[0]))
    return "img_size" in inspect.getsource(module) if module else False


def _adaptable(name: str, image_size: int) -> bool:
    """Whether the model still runs when its first convolution keeps the resolution: RepVGG's has one beside it."""
    with torch.device("meta"):
        if _stem_convolution(_create(name, classes=2, image_size=image_size)) is None:
            return False
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model = _create(name, classes=2, image_size=image_size).eval()
        convolution = _stem_convolution(model)
        assert convolution is not None
        _keep_resolution(convolution)
        try:
            model(torch.zeros(1, 3, image_size, image_size))
        except RuntimeError:
            return False
    return True


def _keep_resolution(convolution: nn.Conv2d) -> None:
    convolution.stride = (1, 1)
    if not isinstance(convolution.padding, str):
        convolution.padding = tuple(k // 2 for k in convolution.kernel_size)


def _stem_convolution(model: nn.Module) -> nn.Conv2d | None:
    """The first convolution, if it halves the resolution."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return module if module.stride == (2, 2) else None
    return None


def cost_of(name: str, size: int) -> tuple[int, int | None]:
    """(parameters, MACs at `size` pixels) without allocating weights; MACs None where the size doesn't fit."""
    with torch.device("meta"):
        model = _create(name, classes=1000, image_size=size)
        try:
            return cost.parameters(model), cost.macs(model, (torch.zeros(1, 3, size, size),))
        except Exception:  # an architecture for one fixed size, or one that looks at its values
            return cost.parameters(model), None


def preprocessing_for(name: str, **geometry: Any) -> ImagePreprocessing:
    """How images reach this model: its own mean and standard deviation, the dataset's size and crop.

    Args:
        name: timm's name.
        geometry: `size`, `crop_pct` and `interpolation`.
    """
    import_timm()
    from timm.models import get_pretrained_cfg

    if ":" in name:  # what the hub says of it is known when it is built
        with torch.device("meta"):
            stored = getattr(_create(name, classes=2, image_size=int(geometry["size"])), "pretrained_cfg", None) or {}
        mean, std = stored.get("mean"), stored.get("std")
    else:
        config = get_pretrained_cfg(name, allow_unregistered=True)
        mean, std = (config.mean, config.std) if config else (None, None)
    if mean and std:
        geometry |= {"mean": mean, "std": std}
    return ImagePreprocessing(**geometry)
