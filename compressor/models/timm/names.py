"""Model names as people type them, resolved to timm's."""

from __future__ import annotations

import re

from compressor.errors import UsageError, nearest
from compressor.packages import import_timm

# What a person means by a family's bare name: its usual member. timm's own names resolve to themselves.
SHORT = {
    "mobilenet": "mobilenetv3_large_100",
    "mobilenetv2": "mobilenetv2_100",
    "mobilenetv3": "mobilenetv3_large_100",
    "mobilenetv3_large": "mobilenetv3_large_100",
    "mobilenetv3_small": "mobilenetv3_small_100",
    "mobilenetv4": "mobilenetv4_conv_small",
    "resnet": "resnet50",
    "efficientnet": "efficientnet_b0",
    "efficientnet_lite": "efficientnet_lite0",
    "efficientnetv2": "tf_efficientnetv2_s",
    "convnext": "convnext_tiny",
    "convnextv2": "convnextv2_tiny",
    "vit": "vit_small_patch16_224",
    "deit": "deit_small_patch16_224",
    "deit3": "deit3_small_patch16_224",
    "swin": "swin_tiny_patch4_window7_224",
    "regnet": "regnety_016",
    "ghostnet": "ghostnet_100",
    "fastvit": "fastvit_t8",
    "efficientvit": "efficientvit_b0",
    "edgenext": "edgenext_small",
    "repvgg": "repvgg_a0",
}


def resolve(name: str, *, role: str = "model") -> str:
    """timm's name for `name`. Raises UsageError with the nearest names for an unknown one."""
    timm = import_timm()
    plain = name.strip().lower().replace("-", "_")
    for candidate in (name, SHORT.get(plain, ""), plain):
        if candidate and timm.is_model(candidate):
            return str(candidate)
    close = nearest(plain, [*SHORT, *timm.list_models()])
    if not close:
        close = timm.list_models(f"*{plain}*")[:3] if len(plain) > 2 else []
    hint = f": did you mean {', '.join(close)}?" if close else ""
    raise UsageError(f"unknown {role} '{name}'{hint}\n`compress models PATTERN` lists what there is.")


def listing(pattern: str) -> list[str]:
    """timm's names that contain `pattern`, or match it where it holds a `*`."""
    timm = import_timm()
    found: list[str] = timm.list_models(pattern if "*" in pattern else f"*{pattern}*")
    return found


def kin(name: str) -> list[str]:
    """timm's names that begin with the same words: `resnet50` has `resnet18`, `resnet10t`, …"""
    words = re.match(r"[a-z]+(?:_[a-z]+)*", name)
    if words is None or ":" in name:
        return []
    found: list[str] = import_timm().list_models(f"{words.group()}*")
    return [other for other in found if other != name]
