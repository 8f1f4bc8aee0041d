"""What a recipe says about a stage: one teacher→student training."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from compressor.objectives.config import CeConfig, DistConfig, HintConfig, KdConfig, ObjectiveConfig
from compressor.section import Section

Guidance = Literal["last", "all", "route", "snapshots"]
"""Who teaches the student: the model before it; all before it (the mean of their probabilities); the teacher's earlier
weights in turn and then the teacher; or the mean of these."""


class OptimizerConfig(Section):
    """How weights move."""

    name: Literal["adamw", "sgd"] = "adamw"
    """`adamw`, or `sgd` with Nesterov momentum."""
    lr: Annotated[float, Field(gt=0, le=1e30)] | Literal["auto"] = "auto"
    """Peak learning rate, reached after the warm-up; `auto` is what suits the models' family: 4e-3 for timm's."""
    weight_decay: float = Field(default=0.02, ge=0, le=100)
    """Decay of weights; biases and normalisation parameters are left out."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of `sgd`."""
    finetune_scale: float = Field(default=0.1, gt=0, le=1)
    """Multiplies `lr` for trained weights; a fresh head and regressors keep the full rate."""
    statistics: Literal["batch", "kept"] = "kept"
    """What trained weights normalise by while they learn: each batch, or the statistics that came with them
    (batch normalisation alone; from scratch it is each batch)."""


class TargetsConfig(Section):
    """Where the teacher's outputs come from: computed once and stored, or live in every step."""

    store: bool = True
    """Keeps the outputs on disk for all stages, seeds and later runs; terms on whole maps stay live anyway."""
    views: Annotated[int, Field(ge=1, le=100_000)] | Literal["all"] = "all"
    """Views per sample: `all` gives every epoch its own; N are stored and reused in turn by what learns from them."""
    dtype: Literal["float16", "float32"] = "float16"
    """How outputs are stored."""
    dense_up_to: int = Field(default=256, ge=1, le=1_000_000)
    """Up to this many classes all logits are stored; above, the largest `top_k` with a uniform tail."""
    top_k: int = Field(default=64, ge=1, le=100_000)
    """Logits stored per sample above `dense_up_to`; `dist` and `standardize` need all and get them."""
    cache_limit: float = Field(default=20.0, gt=0, le=1_000_000)
    """Size of all target stores together, GB; the least recently used go first."""
    batch_size: int = Field(default=64, ge=1, le=65_536)
    """Samples per forward while filling."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of the teacher's forward; `auto` measures whether bf16 is faster here and accurate enough."""


class SaveConfig(Section):
    """How often a training's state is saved; a stopped one goes on from there, exactly. It is also saved on Ctrl-C."""

    seconds: float = Field(default=60.0, ge=0, le=1_000_000)
    """Seconds between two saves, whole steps apart: what a crash costs at most."""
    steps: int | None = Field(default=None, ge=1, le=1_000_000_000)
    """Also after so many steps; None: by the clock alone."""


class StageConfig(Section):
    """How long, with what, towards what a model is trained."""

    epochs: Annotated[int, Field(ge=1, le=100_000)] | Literal["auto"] = "auto"
    """Passes over the training split; `auto`: what the source suggests (digits: few; folders: 30, and more of
    fewer than 10,000 samples, so that there are steps enough)."""
    batch_size: int = Field(default=64, ge=2, le=65_536)
    """Samples per step and process."""
    micro_batch: int | None = Field(default=None, ge=1, le=65_536)
    """Samples per forward, where memory has no room for the whole batch: gradients are added up to `batch_size`, while
    batch normalisation and terms that compare samples see so many. Halved where memory runs out; None: the batch."""
    save: SaveConfig = SaveConfig()
    """How often the state is saved."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """How weights move."""
    warmup_epochs: float = Field(default=1.0, ge=0, le=100_000)
    """Epochs over which the learning rate rises from a hundredth of `lr`; then it falls along a cosine."""
    min_lr_ratio: float = Field(default=0.0, ge=0, lt=1)
    """The learning rate at the end, as a share of `lr`."""
    clip: float | None = Field(default=5.0, gt=0, le=1_000_000)
    """Largest norm of the gradient; None leaves it as it is."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of the averaged weights (timm's ModelEmaV3) that are kept instead of the last ones."""
    keep: Literal["best", "last"] = "best"
    """Which epoch's weights are kept: the one that is right most often on validation (of trained weights, those that it
    began with where no epoch is better), or the last."""
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

    @field_validator("objective", mode="before")
    @classmethod
    def _objective(cls, value: Any) -> Any:
        """`objective: auto` is the default, to be chosen anew by the pilot."""
        return cls.model_fields["objective"].default.model_copy(update={"auto": True}) if value == "auto" else value

    @field_validator("objective")
    @classmethod
    def _teaches_the_head(cls, value: ObjectiveConfig) -> ObjectiveConfig:
        """Features alone leave the classifier as it was drawn."""
        terms = value.weighted()
        if not any(term.teaches_head for term in terms.values()):
            what = f"{', '.join(terms)} alone" if terms else "no term with a weight above 0"
            raise ValueError(f"{what} would teach the student's classifier nothing; add ce or kd")
        return value


Override = dict[str, Any]
"""A part of a StageConfig; given per role or model name."""
