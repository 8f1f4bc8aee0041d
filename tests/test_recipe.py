"""Recipes: order of precedence, replaced objectives, the packaged ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressor.errors import RecipeError
from compressor.recipe import Recipe, find, load

RECIPES = sorted(Path(__file__).resolve().parents[1].glob("recipes/*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_every_shipped_recipe_is_valid_and_found_by_its_name(path: Path) -> None:
    load(path)
    found = find(Path(path.stem))
    assert found is not None
    assert found.read_text() == path.read_text()


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_a_shipped_recipe_says_what_it_takes_and_how_that_is_known(path: Path) -> None:
    header = "".join(line for line in path.read_text().splitlines() if line.startswith("#")).lower()
    for word in ("time", "memory", "disk", f"recipes/{path.name}"):
        assert word in header
    assert "measured" in header
    assert "calculated" in header


def test_shipped_recipes_ask_for_what_their_first_line_says() -> None:
    edge, cifar10, imagenet = (load(find(Path(name))) for name in ("edge", "cifar10", "imagenet"))
    assert "int8" in edge.export.precisions
    assert (edge.export.int8.target, edge.export.uint8_input) == ("arm", True)
    assert (cifar10.teacher.init, cifar10.student.init) == ("scratch", "scratch")  # the same on- and offline
    images, views = 1_281_167, imagenet.stage.epochs
    assert imagenet.data.validation * images < 20_000
    assert isinstance(views, int)
    logits = 2 * (3 * imagenet.stage.targets.top_k + 1)  # bytes of values, indices and the rest's log-sum
    assert not imagenet.stage.targets.store or views * images * logits < imagenet.stage.targets.cache_limit * 1e9
    assert not imagenet.data.decoded or imagenet.data.decoded_limit > 400  # GB, of 280 × 373 pixels each


def test_settings_beat_options_beat_the_file_beat_defaults(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("seed: 1\nstage: {epochs: 5, batch_size: 16, optimizer: {lr: 1e-4}}\n")
    recipe = load(path, {"seed": 2, "stage.epochs": 6}, ["seed=3"])
    assert (recipe.seed, recipe.stage.epochs, recipe.stage.batch_size) == (3, 6, 16)
    assert recipe.stage.optimizer.lr == 1e-4
    assert recipe.stage.optimizer.weight_decay == Recipe().stage.optimizer.weight_decay


def test_a_recipes_objective_lists_all_its_terms_and_a_setting_changes_one_value(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("stage: {objective: {ce: {}, dist: {}}}\n")
    objective = load(path).stage.objective
    assert (objective.kd, objective.hint) == (None, None)
    changed = load(None, None, ["stage.objective.kd.temperature=2"]).stage.objective
    assert changed.kd is not None
    assert changed.kd.temperature == 2
    assert changed.hint == Recipe().stage.objective.hint


def test_overrides_go_by_role_and_model_and_a_baseline_trains_like_the_student() -> None:
    recipe = load(None, {"overrides": {"student": {"epochs": 60}, "resnet18": {"optimizer": {"lr": 0.5}}}})
    assert recipe.stage_for("baseline", "m").epochs == recipe.stage_for("student", "m").epochs == 60
    assert recipe.stage_for("assistant", "resnet18").optimizer.lr == 0.5
    assert recipe.stage_for("teacher", "resnet50") == recipe.stage


def test_a_recipe_survives_its_own_yaml(tmp_path: Path) -> None:
    recipe = load(None, {"assistants": ["resnet18"]}, ["stage.objective.kd.temperature=2.5", "data.limit=7"])
    (tmp_path / "r.yaml").write_text(recipe.to_yaml())
    assert load(tmp_path / "r.yaml") == recipe
    assert load(tmp_path / "r.yaml").fingerprint == recipe.fingerprint


@pytest.mark.parametrize("text", ["- a\n- b\n", "seed: [1\n", "\x00"])
def test_what_is_no_recipe_is_said_plainly(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeError, match=r"r\.yaml"):
        load(tmp_path / "r.yaml")
