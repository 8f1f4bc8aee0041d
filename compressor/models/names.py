"""Model names as people type them, resolved to timm's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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

HUB = "hf-hub:"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a model comes from: exactly one of a timm name, a hub name or a path."""

    spelled: str
    timm_name: str | None = None
    hub: str | None = None
    path: Path | None = None


def locate(spelled: str, *, role: str) -> Source:
    """What `spelled` means: `hf-hub:…`, an existing path or something spelled like one, or a timm name.

    Raises:
        UsageError: a path that does not exist, or a name that timm doesn't know.
    """
    if spelled.startswith((HUB, "hf_hub:")):
        return Source(spelled=spelled, hub=HUB + spelled.split(":", 1)[1])
    path = Path(spelled).expanduser()
    looks_like_path = "/" in spelled or spelled.endswith((".safetensors", ".pth", ".pt", ".bin"))
    if looks_like_path or (path.is_dir() and (path / "run.json").is_file()):
        if not path.exists():
            raise UsageError(
                f"{role} '{spelled}' looks like a path, and there is nothing there.\n"
                "Give a timm name (`compress models PATTERN`), a checkpoint or a run's folder."
            )
        return Source(spelled=spelled, path=path)
    return Source(spelled=spelled, timm_name=resolve(spelled, role=role))


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
    hint = f"did you mean {', '.join(close)}? " if close else ""
    raise UsageError(f"unknown {role} '{name}': {hint}\n`compress models PATTERN` lists what there is.")


def listing(pattern: str) -> list[str]:
    """timm's names that contain `pattern`, or match it where it holds a `*`."""
    timm = import_timm()
    found: list[str] = timm.list_models(pattern if "*" in pattern else f"*{pattern}*")
    return found
