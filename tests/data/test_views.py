"""Views are pure functions of (data.seed, sample, view, size)."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from compressor.artifact.images import ImagePreprocessing
from compressor.data.config import AugmentConfig, DataConfig
from compressor.data.dataset import Dataset
from compressor.data.images.views import colour_matrix, jitter, mix_of, render
from compressor.data.load import load_dataset
from compressor.data.loaders import training_loader, worker_count
from compressor.data.views import generators_restored
from compressor.packages import import_timm


@pytest.fixture
def dataset(photos: Path) -> Dataset:
    strong = AugmentConfig(color_jitter=0.4, auto_augment="rand-m7-mstd0.5", vflip=0.5)
    return load_dataset(DataConfig(source=str(photos), image_size=24, augment=strong))


def test_a_view_is_the_same_bytes_whenever_it_is_asked_for(dataset: Dataset) -> None:
    with generators_restored():
        first = [render(dataset, i, 3, 24) for i in (0, 5, 9)]
        random.seed(1)
        again = [render(dataset, i, 3, 24) for i in (9, 5, 0)][::-1]
        other = render(dataset, 0, 4, 24)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert (first[0] != other).any()
    assert first[0].shape == (24, 24, 3)
    assert first[0].dtype == np.uint8


@pytest.mark.parametrize("order", list(itertools.permutations(("brightness", "contrast", "saturation"))))
def test_one_pass_of_colour_jitter_is_torchvisions_three(order: tuple[str, ...]) -> None:
    import_timm()
    from torchvision.transforms import functional

    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(70, 180, (24, 32, 3), dtype=np.uint8))  # far from where values clip
    factors = dict(zip(order, (0.8, 1.2, 1.3), strict=True))
    expected = image
    for kind, factor in factors.items():
        expected = getattr(functional, f"adjust_{kind}")(expected, factor)
    matrix = colour_matrix(factors, float(np.asarray(image.convert("L")).mean()))
    seen = np.asarray(image.convert("RGB", matrix))
    assert np.abs(seen.astype(int) - np.asarray(expected)).max() <= 3  # they round after each step


def test_jitter_of_strength_nought_changes_nothing_and_more_changes_more() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))

    def change(strength: float) -> float:
        random.seed(3)
        return float(np.abs(np.asarray(jitter(image, strength=strength)).astype(int) - np.asarray(image)).mean())

    assert change(0.0) == 0
    assert 0 < change(0.1) < change(0.4)


def test_a_recipe_settled_on_linux_forks_nothing_elsewhere(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    own = type(dataset)(**(vars(dataset) | {"config": dataset.config.model_copy(update={"workers": 8})}))
    assert worker_count(own) == 8
    for system in ("darwin", "win32"):
        monkeypatch.setattr("sys.platform", system)
        assert worker_count(own) == 0


def test_workers_change_nothing(dataset: Dataset) -> None:
    def batches(workers: int) -> list[dict[str, Any]]:
        config = dataset.config.model_copy(update={"workers": workers})
        own = type(dataset)(**(vars(dataset) | {"config": config}))
        loader, order = training_loader(own, preprocessings=[ImagePreprocessing(size=24)], batch_size=8, seed=0)
        order.epoch = 2
        return list(loader)

    for alone, helped in zip(batches(0), batches(2), strict=True):
        assert alone.keys() == helped.keys()
        assert all(torch.equal(alone[key], helped[key]) for key in alone if key != "views")
        assert torch.equal(alone["views"]["24 px"]["pixels"], helped["views"]["24 px"]["pixels"])


def test_the_data_seed_changes_views_and_the_run_seed_only_their_order(dataset: Dataset) -> None:
    def first_epoch(seed: int) -> dict[int, bytes]:
        loader, _ = training_loader(dataset, preprocessings=[ImagePreprocessing(size=24)], batch_size=8, seed=seed)
        return {
            int(s): v.numpy().tobytes()
            for b in loader
            for s, v in zip(b["sample"], b["views"]["24 px"]["pixels"], strict=True)
        }

    a, b = first_epoch(0), first_epoch(1)
    shared = a.keys() & b.keys()
    assert list(a) != list(b)
    assert all(a[s] == b[s] for s in shared)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_what_is_mixed_in_depends_on_the_view_alone(dataset: Dataset, kind: str) -> None:
    augment = AugmentConfig(scale=(1.0, 1.0), hflip=0, color_jitter=0).model_copy(update={kind: 1.0})
    mixed = type(dataset)(**(vars(dataset) | {"setup": replace(dataset.setup, augment=augment)}))
    plain = type(dataset)(
        **(vars(dataset) | {"setup": replace(dataset.setup, augment=augment.model_copy(update={kind: 0.0}))})
    )
    mix = mix_of(mixed, 4, 2)
    assert mix == mix_of(mixed, 4, 2)
    assert mix is not None
    assert mix != mix_of(mixed, 4, 3)
    with generators_restored():
        view = render(mixed, 4, 2, 24)
        own, other = (render(plain, i, 2, 24) for i in (4, mix.partner))
    if kind == "mixup":
        assert (view == (mix.amount * own + (1 - mix.amount) * other).round().astype(np.uint8)).all()
    else:
        assert ((view == own) | (view == other)).all()
        assert abs((view == own).all(2).mean() - mix.amount) < 0.12
    loader, order = training_loader(mixed, preprocessings=[ImagePreprocessing(size=24)], batch_size=8, seed=0)
    order.epoch = 2
    batch = next(iter(loader))
    first = mix_of(mixed, int(batch["sample"][0]), 2)
    assert first is not None
    assert int(batch["partner"][0]) == dataset.labels[first.partner]
    assert float(batch["amount"][0]) == pytest.approx(first.amount)


def test_two_resolutions_show_the_same_crop(tmp_path: Path) -> None:
    # Red and green are the coordinates in the original: a view's colours say which part of it is seen.
    side = 256
    y, x = np.mgrid[0:side, 0:side].astype(np.uint8)
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for i in range(6):
            Image.fromarray(np.stack([x, y, np.full_like(x, i)], 2)).save(tmp_path / label / f"{i}.png")
    data = load_dataset(
        DataConfig(source=str(tmp_path), image_size=32, augment=AugmentConfig(color_jitter=0.0, vflip=0.5))
    )
    boxes = []
    with generators_restored():
        for index in (0, 5):
            for view in range(8):
                small, large = (render(data, index, view, size).astype(float) for size in (32, 64))
                shrunk = large.reshape(32, 2, 32, 2, 3).mean((1, 3))
                assert np.abs(shrunk - small)[1:-1, 1:-1, :2].max() < 4  # original pixels, of crops of 150 or more
                boxes.append(tuple(small[0, 0, :2]))
    assert len(set(boxes)) > 8  # and they are different crops


def test_a_sample_is_flipped_in_every_other_view(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for i in range(12):
            ramp = np.tile(np.arange(0, 240, 5, dtype=np.uint8), (48, 1))
            Image.fromarray(np.stack([ramp, ramp, np.full_like(ramp, i)], 2)).save(tmp_path / label / f"{i}.png")

    def flips(index: int, **augment: Any) -> list[bool]:
        config = AugmentConfig(color_jitter=0.0, **augment)
        data = load_dataset(DataConfig(source=str(tmp_path), image_size=32, augment=config))
        with generators_restored():
            views = [render(data, index, view, 32) for view in range(8)]
        return [bool(view[0, 0, 0] > view[0, -1, 0]) for view in views]

    turns = [flips(index) for index in range(12)]
    assert all(turn in ([True, False] * 4, [False, True] * 4) for turn in turns)
    assert len({turn[0] for turn in turns}) == 2  # not all from the same side
    drawn = [flips(index, alternate=False) for index in range(4)]
    assert any(turn not in ([True, False] * 4, [False, True] * 4) for turn in drawn)
    assert flips(0, hflip=0.0) == [False] * 8


def test_asking_for_views_leaves_the_generators_alone(dataset: Dataset) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with generators_restored():
        render(dataset, 0, 0, 24)
    assert torch.equal(torch.rand(1), expected)
