"""What a recipe says about data."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from compressor.section import LARGEST_IMAGE, SEED, Section

Share = Annotated[float, Field(gt=0, le=1)]
Ratio = Annotated[float, Field(ge=0.01, le=100)]


class AugmentConfig(Section):
    """What a training view may do to an image; timm's transforms, seeded per (data.seed, sample, view)."""

    scale: tuple[Share, Share] = (0.35, 1.0)
    """Share of the image's area that the random crop keeps, from–to."""
    ratio: tuple[Ratio, Ratio] = (0.75, 1.3333)
    """Aspect ratio of the random crop, from–to."""
    hflip: float = Field(default=0.5, ge=0, le=1)
    """Probability of a horizontal flip; 0 for text, digits and anything with a reading direction."""
    alternate: bool = True
    """At `hflip: 0.5` flips every other view of a sample instead of a random half of them (Jordan 2024)."""
    vflip: float = Field(default=0.0, ge=0, le=1)
    """Probability of a vertical flip."""
    color_jitter: float = Field(default=0.2, ge=0, le=1)
    """Strength of random brightness, contrast and saturation changes."""
    mixup: float = Field(default=0.0, ge=0, le=100)
    """Beta parameter of mixup (Zhang et al. 2018); 0 is off. Partner and amount depend on the view alone."""
    cutmix: float = Field(default=0.0, ge=0, le=100)
    """Beta parameter of CutMix (Yun et al. 2019); 0 is off. With both on, each view draws one of them."""
    auto_augment: str | None = None
    """timm's auto-augment policy, such as `rand-m7-mstd0.5-inc1`; replaces colour jitter."""

    @field_validator("scale", "ratio")
    @classmethod
    def _ascending(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError(f"the range runs from the smaller to the larger number: [{value[1]:g}, {value[0]:g}]")
        return value


class DataConfig(Section):
    """The data, how they are split, and what a view of one looks like."""

    source: str = "digits"
    """`digits` (embedded, 1,797 handwritten digits) or a path: a folder of images, or what another modality reads."""
    task: Literal["auto", "lm", "mlm"] = "auto"
    """What the data are for: `lm`, a causal language model learns their running text; `mlm`, a masked one does; `auto`: to be
    classified."""
    seed: int = Field(default=0, ge=-SEED, le=SEED)
    """Fixes the splits and the views; part of every fingerprint."""
    image_size: Annotated[int, Field(ge=1, le=LARGEST_IMAGE)] | Literal["auto"] = "auto"
    """Height and width that models are trained at, pixels; `auto`: the images' usual short side in
    steps of 32, from 32 (digits) to 224."""
    validation: float = Field(default=0.1, gt=0, lt=0.5)
    """Share held out for choices, where the folder has no validation split of its own; of running text the default is 0.05."""
    test: float = Field(default=0.2, gt=0, lt=0.5)
    """Share held out for the report, where the folder has no test split of its own; of running text the default is 0.05."""
    unlabeled: str | None = None
    """Samples without labels, of images a folder, at any depth: only the teacher speaks to them (pseudo-labelling)."""
    unlabeled_confidence: float = Field(default=0.0, ge=0, lt=1)
    """Unlabelled samples of which the teacher is less sure than this (calibrated top probability) are left out."""
    limit: int | None = Field(default=None, ge=1, le=1_000_000_000)
    """Keeps at most this many samples of each split, stratified; None keeps all."""
    crop_pct: float = Field(default=1.0, gt=0, le=1)
    """Share of the resized short side that the centre crop keeps in evaluation and on the device."""
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bilinear"
    """How images are resized, in training and after."""
    augment: AugmentConfig | Literal["auto"] = "auto"
    """What a training view does; `auto` takes what suits the source (digits are never flipped)."""
    options: dict[str, Any] = {}
    """Settings of data that are no images; their modality checks them."""
    decoded: bool = True
    """Stores images decoded and shrunk once under `$COMPRESS_CACHE`, so that no JPEG is decoded twice."""
    decoded_limit: float = Field(default=50.0, gt=0, le=1_000_000)
    """Size of all decoded stores together, GB; the least recently used go first."""
    workers: Annotated[int, Field(ge=0, le=256)] | Literal["auto"] = "auto"
    """Loader processes; `auto`: none on two cores or fewer, else up to eight. Used on Linux alone."""
    max_unreadable: float = Field(default=0.01, ge=0, le=1)
    """Share of unreadable samples that is skipped with a warning; more is an error."""
    strict: bool = False
    """Samples that show the same in two splits or in two classes are an error. Else those of two splits are taken out
    of training (out of validation, where test has them), and those of two classes are counted."""
