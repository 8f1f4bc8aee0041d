"""Names, adaptation to small images, weights and checkpoints."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from compressor.errors import CheckpointError, UsageError
from compressor.models import cost, hub, locate
from compressor.models.family import family
from compressor.models.timm import names
from compressor.models.timm.build import TimmArchitecture, decide_stem, preprocessing_for
from compressor.models.weights import build, initialise, load_matching, read_state
from compressor.packages import import_timm

TINY = TimmArchitecture(name="test_resnet", classes=3, image_size=32)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("mobilenetv3", "mobilenetv3_large_100"),
        ("resnet50", "resnet50"),
        ("efficientnet", "efficientnet_b0"),
        ("MobileNetV3-Small", "mobilenetv3_small_100"),
    ],
)
def test_short_names_mean_what_a_person_means(typed: str, name: str) -> None:
    assert names.resolve(typed) == name


def test_every_short_name_is_a_timm_model() -> None:
    assert all(names.resolve(short) == name for short, name in names.SHORT.items())


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown teacher 'resnet51': did you mean resnet5"):
        locate.locate("resnet51", role="teacher")


def test_a_small_image_keeps_its_resolution_in_the_first_convolution() -> None:
    assert decide_stem("mobilenetv3_small_050", "auto", 32) == "stride1"
    assert decide_stem("mobilenetv3_small_050", "auto", 224) == "keep"
    assert decide_stem("convnext_atto", "auto", 32) == "keep"
    assert decide_stem("repvgg_a0", "auto", 32) == "keep"  # a second convolution of stride 2 lies beside the first
    with pytest.raises(UsageError, match="not possible for convnext_atto"):
        decide_stem("convnext_atto", "stride1", 32)
    plain, adapted = (
        TimmArchitecture(name="mobilenetv3_small_050", classes=3, image_size=32, stem=stem)
        for stem in ("keep", "stride1")
    )
    maps = [build(a).eval().forward_features(torch.zeros(1, 3, 32, 32)) for a in (plain, adapted)]  # type: ignore[operator]
    assert maps[1].shape[-1] == 2 * maps[0].shape[-1]


def test_models_for_one_input_size_are_built_for_the_datas() -> None:
    model = build(TimmArchitecture(name="test_vit", classes=3, image_size=64))
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def test_a_hubs_model_is_built_for_another_size_than_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timm = import_timm()
    from timm.models import save_for_hf

    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=7)
    save_for_hf(theirs, str(tmp_path), model_config={"num_classes": 7}, safe_serialization=True)

    def download(repo_id: str, filename: str, **_: object) -> str:
        return str(tmp_path / filename)

    monkeypatch.setattr("timm.models._hub.hf_hub_download", download)
    monkeypatch.setattr("compressor.models.hub.reachable", lambda: True)
    name = "hf-hub:someone/theirs"
    architecture = TimmArchitecture(name=name, classes=7, image_size=64)
    loaded = initialise(architecture, "pretrained", role="teacher")
    assert loaded.head_fits
    with torch.no_grad():
        assert loaded.model(torch.zeros(1, 3, 64, 64)).shape == (1, 7)
    own = dict(theirs.state_dict())
    assert torch.equal(loaded.model.state_dict()["blocks.0.attn.qkv.weight"], own["blocks.0.attn.qkv.weight"])
    assert loaded.model.state_dict()["pos_embed"].shape != own["pos_embed"].shape


def test_each_model_keeps_its_own_statistics() -> None:
    geometry = {"size": 32, "crop_pct": 1.0, "interpolation": "bilinear"}
    assert preprocessing_for("resnet50", **geometry).mean == (0.485, 0.456, 0.406)
    assert preprocessing_for("vit_tiny_patch16_224", **geometry).mean == (0.5, 0.5, 0.5)


def test_macs_and_parameters_of_a_convolution_are_counted_by_hand() -> None:
    model = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    assert cost.parameters(model) == 3 * 8 * 9
    assert cost.macs(model, (torch.zeros(1, 3, 16, 16),)) == 16 * 16 * 3 * 8 * 9


def test_auto_says_so_when_the_hub_cannot_be_reached() -> None:
    loaded = initialise(TINY, "auto", role="student")
    assert loaded.origin == "scratch"
    assert loaded.notice is not None
    assert "the model hub can't be reached" in loaded.notice
    with pytest.raises(UsageError, match="hub can't be reached"):
        initialise(TINY, "pretrained", role="student")


def test_pretrained_weights_are_used_where_they_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub is a stub: timm's own loader gets a state dict of 1000 classes from it."""
    donor = build(TimmArchitecture(name="test_resnet", classes=1000, image_size=160))
    monkeypatch.setattr(hub, "reachable", lambda: True)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *a, **k: dict(donor.state_dict()))
    loaded = initialise(TINY, "auto", role="teacher")
    assert loaded.origin == "pretrained"
    assert not loaded.head_fits
    assert torch.equal(loaded.model.conv1[0].weight, donor.conv1[0].weight)  # type: ignore[index,union-attr]


def test_a_damaged_download_is_a_plain_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise OSError("disk quota exceeded")

    monkeypatch.setattr(hub, "reachable", lambda: True)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", broken)
    with pytest.raises(UsageError, match="disk quota exceeded"):
        family("timm").pretrained(TINY)


def test_a_pth_file_is_read_and_a_pickle_with_code_is_not(tmp_path: Path) -> None:
    model = build(TINY)
    torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "a.pth")
    assert load_matching(build(TINY), read_state(tmp_path / "a.pth"), source="a.pth")

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"state_dict": Evil()}))
    with pytest.raises(CheckpointError):
        read_state(tmp_path / "evil.pth")
    torch.save({"weights": Evil()}, tmp_path / "evil2.pth")
    with pytest.raises(CheckpointError, match="a pickle can run any code"):
        read_state(tmp_path / "evil2.pth")
    assert not (tmp_path / "ran").exists()


def test_a_fresh_head_is_told_from_one_that_fits_and_from_another_architecture(tmp_path: Path) -> None:
    other = build(TINY.model_copy(update={"classes": 9}))
    save_file({k: v.contiguous() for k, v in other.state_dict().items()}, tmp_path / "nine.safetensors")
    assert not initialise(TINY, str(tmp_path / "nine.safetensors"), role="teacher").head_fits
    wrong = TINY.model_copy(update={"name": "test_efficientnet"})
    with pytest.raises(CheckpointError, match="does not fit the architecture"):
        initialise(wrong, str(tmp_path / "nine.safetensors"), role="teacher")
