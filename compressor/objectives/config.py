"""What a recipe says about the objective: one entry per term, each with its weight."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from compressor.section import Section

Tap = Annotated[int, Field(ge=0, le=1000)]
Taps = Annotated[list[tuple[Tap, Tap]], Field(min_length=1, max_length=100)]


class TermConfig(Section):
    """What every term has: a weight, and how it moves over training."""

    teaches_head: ClassVar[bool] = False
    """Whether it reads the student's logits."""

    weight: float = Field(default=1.0, ge=0, le=1_000_000)
    """Factor of this term in the sum."""
    warmup: float = Field(default=0.0, ge=0, le=1)
    """Share of training over which the weight rises linearly from zero."""
    decay: Literal["none", "linear", "cosine"] = "none"
    """How the weight falls to zero from the end of the warm-up to the end of training."""


class CeConfig(TermConfig):
    """Cross-entropy with the hard labels; its weight is Hinton's alpha."""

    teaches_head: ClassVar[bool] = True

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target spread evenly over all classes."""


class KdConfig(TermConfig):
    """Soft targets (Hinton et al. 2015): T² · KL(teacher ‖ student); its weight is 1 − alpha."""

    teaches_head: ClassVar[bool] = True

    temperature: float = Field(default=4.0, ge=0.01, le=1000)
    """Softens both logits; 1 leaves them as they are."""
    standardize: bool = False
    """Z-scores each row of logits first (Sun et al. 2024), so that only their shape is learned."""


class DkdConfig(TermConfig):
    """Decoupled KD (Zhao et al. 2022): target and non-target classes weighted apart."""

    teaches_head: ClassVar[bool] = True

    temperature: float = Field(default=4.0, ge=0.01, le=1000)
    """Softens both logits."""
    alpha: float = Field(default=1.0, ge=0, le=1_000_000)
    """Weight of the target class against the rest."""
    beta: float = Field(default=8.0, ge=0, le=1_000_000)
    """Weight of the distribution among the other classes."""


class DistConfig(TermConfig):
    """DIST (Huang et al. 2022): Pearson correlation between and within classes, for strong teachers."""

    teaches_head: ClassVar[bool] = True

    temperature: float = Field(default=4.0, ge=0.01, le=1000)
    """Softens both logits."""
    beta: float = Field(default=1.0, ge=0, le=1_000_000)
    """Weight of the relations between classes, per sample."""
    gamma: float = Field(default=1.0, ge=0, le=1_000_000)
    """Weight of the relations within a class, over the batch."""


class HintConfig(TermConfig):
    """Feature hints (FitNets, Romero et al. 2015): a learned regressor from the student's features."""

    on: Literal["embedding", "maps", "both"] = "embedding"
    """The pooled embedding (can be stored), feature maps (keep the teacher live), or both."""
    taps: Taps | None = None
    """(student, teacher) tap indices, instead of the automatic pairing by stride; the same for all terms."""


class AttentionConfig(TermConfig):
    """Attention transfer (Zagoruyko and Komodakis 2017): where the maps are active."""

    power: float = Field(default=2.0, gt=0, le=100)
    """Exponent of the activations that are averaged over channels."""
    taps: Taps | None = None
    """(student, teacher) tap indices, instead of the automatic pairing by stride; the same for all terms."""


class RkdConfig(TermConfig):
    """Relational KD (Park et al. 2019): distances and angles among a batch's embeddings."""

    distance: float = Field(default=25.0, ge=0, le=1_000_000)
    """Weight of pairwise distances."""
    angle: float = Field(default=50.0, ge=0, le=1_000_000)
    """Weight of angles of triplets; its cost grows with the cube of the batch."""


class SimilarityConfig(TermConfig):
    """Similarity-preserving KD (Tung and Mori 2019): which samples of a batch look alike."""

    on: Literal["embedding", "maps"] = "embedding"
    """The pooled embedding, or the deepest pair of feature maps."""
    taps: Taps | None = None
    """(student, teacher) tap indices, instead of the automatic pairing by stride; the same for all terms."""


class CosineConfig(TermConfig):
    """Hidden-state cosine loss (DistilBERT, Sanh et al. 2019); a learned projection only where the widths differ."""

    on: Literal["embedding", "maps"] = "embedding"
    """The pooled embedding, or the deepest pair of feature maps: of a text each token's last hidden state, as published."""
    taps: Taps | None = None
    """(student, teacher) tap indices, instead of the automatic pairing; the same for all terms."""


class MinilmConfig(TermConfig):
    """MiniLM (Wang et al. 2020): attention and value relations of the last layer, for texts; keeps the teacher live."""

    heads: int | None = Field(default=None, ge=1, le=1024)
    """Relation heads that both models' channels are cut into (MiniLMv2); None: the models' own where they have as many."""


class ObjectiveConfig(Section):
    """The terms of the sum; a term that is absent does not take part.

    A recipe that gives `objective` lists all its terms; `--set` changes single values.
    """

    auto: bool = False
    """Whether the pilot may choose other terms; these are then its first arm, and what is taken where it can't tell."""
    ce: CeConfig | None = None
    """Cross-entropy with the hard labels."""
    kd: KdConfig | None = None
    """Soft targets with a temperature."""
    dkd: DkdConfig | None = None
    """Decoupled soft targets."""
    dist: DistConfig | None = None
    """Correlation instead of exact match."""
    hint: HintConfig | None = None
    """Regressed features."""
    attention: AttentionConfig | None = None
    """Attention maps."""
    rkd: RkdConfig | None = None
    """Distances and angles among samples."""
    similarity: SimilarityConfig | None = None
    """Similarities among samples."""
    cosine: CosineConfig | None = None
    """Direction of the features."""
    minilm: MinilmConfig | None = None
    """How tokens attend to each other."""

    def weighted(self) -> dict[str, Any]:
        """The terms that take part, by name."""
        terms = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: term for name, term in terms.items() if isinstance(term, TermConfig) and term.weight > 0}

    @model_validator(mode="after")
    def _one_set_of_taps(self) -> ObjectiveConfig:
        """A stage reads one set of pairs: two terms that name different ones can't both be served."""
        named = {
            name: term.taps
            for name, term in self.weighted().items()
            if getattr(term, "taps", None) and getattr(term, "on", "maps") != "embedding"
        }
        if len({str(taps) for taps in named.values()}) > 1:
            listed = ", ".join(f"{name}.taps {[list(pair) for pair in taps]}" for name, taps in named.items())
            raise ValueError(f"terms read the same pairs of feature maps, and these name different ones: {listed}")
        return self
