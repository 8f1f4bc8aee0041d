"""What a recipe says about a stage: one teacher→student training."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from compressor.objectives.config import CeConfig, DistConfig, HintConfig, KdConfig, ObjectiveConfig


class OptimizerConfig(BaseModel):
    """How weights move."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["adamw", "sgd"] = "adamw"
    """`adamw`, or `sgd` with Nesterov momentum."""
    lr: float = Field(default=4e-3, gt=0)
    """Peak learning rate, reached after the warm-up."""
    weight_decay: float = Field(default=0.02, ge=0)
    """Decay of weights; biases and normalisation parameters are left out."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of `sgd`."""
    finetune_scale: float = Field(default=0.1, gt=0, le=1)
    """Multiplies `lr` for trained weights; a fresh head and regressors keep the full rate."""
    statistics: Literal["batch", "kept"] = "kept"
    """What trained weights normalise by while they learn: each batch, or the statistics that came with them
    (batch normalisation alone; from scratch it is each batch)."""


class TargetsConfig(BaseModel):
    """Where the teacher's outputs come from: computed once and stored, or live in every step."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    store: bool = True
    """Keeps the outputs on disk for all stages, seeds and later runs; terms on whole maps stay live anyway."""
    views: int | Literal["all"] = "all"
    """Views per sample: `all` gives every epoch its own; N are stored and reused in turn."""
    dtype: Literal["float16", "float32"] = "float16"
    """How outputs are stored."""
    dense_up_to: int = Field(default=256, ge=1)
    """Up to this many classes all logits are stored; above, the largest `top_k` with a uniform tail."""
    top_k: int = Field(default=64, ge=1)
    """Logits stored per sample above `dense_up_to`; `dist` and `standardize` need all and get them."""
    cache_limit: float = Field(default=20.0, gt=0)
    """Size of all target stores together, GB; the least recently used go first."""
    batch_size: int = Field(default=64, ge=1)
    """Samples per forward while filling."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of the teacher's forward; `auto` measures whether bf16 is faster here and accurate enough."""


class SaveConfig(BaseModel):
    """How often a training's state is saved; a stopped one goes on from there, exactly. It is also saved on Ctrl-C."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float = Field(default=60.0, ge=0)
    """Seconds between two saves, whole steps apart: what a crash costs at most."""
    steps: int | None = Field(default=None, ge=1)
    """Also after so many steps; None: by the clock alone."""


class StageConfig(BaseModel):
    """How long, with what, towards what a model is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int | Literal["auto"] = "auto"
    """Passes over the training split; `auto`: what the source suggests (digits: few; folders: 30, and more of
    fewer than 10,000 samples, so that there are steps enough)."""
    batch_size: int = Field(default=64, ge=2)
    """Samples per step and process."""
    micro_batch: int | None = Field(default=None, ge=1)
    """Samples per forward, where memory has no room for the whole batch: gradients are added up to `batch_size`, while
    batch normalisation and terms that compare samples see so many. Halved where memory runs out; None: the batch."""
    save: SaveConfig = SaveConfig()
    """How often the state is saved."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """How weights move."""
    warmup_epochs: float = Field(default=1.0, ge=0)
    """Epochs over which the learning rate rises from a hundredth of `lr`; then it falls along a cosine."""
    min_lr_ratio: float = Field(default=0.0, ge=0, lt=1)
    """The learning rate at the end, as a share of `lr`."""
    clip: float | None = Field(default=5.0, gt=0)
    """Largest norm of the gradient; None leaves it as it is."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of the averaged weights (timm's ModelEmaV3) that are kept instead of the last ones."""
    keep: Literal["best", "last"] = "best"
    """Which epoch's weights are kept: the one that is right most often on validation, or the last."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Precision of forward and backward pass (autocast; weights stay float32); `auto`: bf16 on CUDA, else fp32."""
    head_epochs: float = Field(default=0.15, ge=0, le=1)
    """Share of the epochs in which only a fresh head is trained on top of trained weights, where it is
    no linear layer that could be fitted on the embeddings before the first epoch."""
    targets: TargetsConfig = TargetsConfig()
    """Where the teacher's outputs come from."""
    objective: ObjectiveConfig = ObjectiveConfig(
        ce=CeConfig(weight=0.1),
        kd=KdConfig(weight=0.9, temperature=4.0),
        dist=DistConfig(weight=2.0, temperature=1.0),
        hint=HintConfig(weight=4.0),
    )
    """The weighted sum that is minimised; teachers and baselines use its hard labels alone."""


Override = dict[str, Any]
"""A part of a StageConfig; given per role or model name."""
