"""Recipes: order of precedence, replaced objectives, bounds, the packaged ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compressor.errors import RecipeError
from compressor.recipe import Recipe, find, load
from compressor.section import Section, bounds, section_of

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


def sections(model: type[Any] = Recipe, prefix: str = "") -> Iterator[tuple[str, type[Any]]]:
    yield prefix, model
    for name, field in model.model_fields.items():
        below = section_of(field)
        if below is not None:
            yield from sections(below, f"{prefix}{name}.")


@pytest.mark.parametrize(("prefix", "model"), list(sections()), ids=lambda v: v or "top" if isinstance(v, str) else "")
def test_every_number_of_every_section_has_both_ends(prefix: str, model: type[Any]) -> None:
    assert issubclass(model, Section)  # which refuses NaN, infinity, unknown keys and endless texts
    for name, field in model.model_fields.items():
        for _, low, high in bounds(field):
            assert low is not None, f"{prefix}{name}"
            assert high is not None, f"{prefix}{name}"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("stage.epochs=-3", "stage.epochs = -3: give a whole number (1 to 100,000) or 'auto'"),
        ("stage.epochs=1000000000000", "stage.epochs = 1000000000000: give a whole number (1 to 100,000)"),
        ("stage.epochs=yes", "give a whole number (1 to 100,000) or 'auto', not yes or no"),
        ("stage.targets.views=0", "stage.targets.views = 0: give a whole number (1 to 100,000) or 'all'"),
        ("data.image_size=1000000000", "data.image_size = 1000000000: give a whole number (1 to 4,096)"),
        ("data.limit=0", "data.limit = 0: input should be greater than or equal to 1 (1 to 1,000,000,000)"),
        ("export.batch=0", "export.batch = 0: give a whole number (1 to 65,536) or 'dynamic'"),
        ("benchmark.batches=[0]", "benchmark.batches = [0]: input should be greater than or equal to 1"),
        ("data.augment.scale=[1, 0.2]", "the range runs from the smaller to the larger number: [0.2, 1]"),
        ("stage.optimizer.lr=.nan", "stage.optimizer.lr = nan: give a number (above 0, to 1e+30) or 'auto'"),
        ("stage.optimizer.lr=.inf", "stage.optimizer.lr = inf: give a number (above 0"),
        ("seed=0x" + "f" * 50_000, "seed = '0xfff"),
        ("seed=" + "9" * 50_000, "seed = '999"),
        ("data.source=" + "a" * 1_000_000, "data.source = 'aaa"),
        ("data.source=\"a\\0b\"", "text must not hold a NUL character"),
        ("overrides.student.epochs=-1", "overrides.student.epochs = -1: give a whole number"),
        ("a.b.c.d.e.f.g.h.i.j=1", "write it as key=value"),
        ("stage.objective={}", "no term with a weight above 0 would teach the student's classifier nothing"),
        ("stage.objective={hint: {}, rkd: {}}", "hint, rkd alone would teach the student's classifier nothing"),
        ("stage.objective={ce: {}, attention: {taps: [[2, 3]]}, hint: {on: maps, taps: [[0, 0]]}}",
         "these name different ones: hint.taps [[0, 0]], attention.taps [[2, 3]]"),
    ],
    ids=lambda v: v[:40],
)  # fmt: skip
def test_a_value_out_of_bounds_is_refused_with_its_key_and_its_range(setting: str, said: str) -> None:
    with pytest.raises(RecipeError) as error:
        load(None, None, [setting])
    assert said in str(error.value)
    assert len(str(error.value)) < 600


def test_terms_that_read_the_same_taps_may_name_them_and_an_embedding_has_none() -> None:
    taps: dict[str, Any] = {"taps": [[0, 0], [1, 2]]}
    for hint in ({"on": "maps"} | taps, {"on": "embedding", "taps": [[3, 3]]}):
        load(None, None, {"stage.objective": {"ce": {}, "attention": taps, "hint": hint}})


def test_a_setting_inside_an_overrides_objective_keeps_the_other_terms() -> None:
    own = Recipe().stage.objective
    recipe = load(None, None, ["overrides.student.objective.kd.temperature=2", "stage.objective.ce.weight=0.5"])
    student = recipe.stage_for("student", "m").objective
    assert (student.dist, student.hint) == (own.dist, own.hint)
    assert student.kd is not None
    assert student.ce is not None
    assert (student.kd.temperature, student.kd.weight, student.ce.weight) == (2, 0.9, 0.5)
    assert recipe.stage_for("assistant", "m").objective.kd == own.kd


def test_an_override_that_lists_its_terms_is_what_a_setting_starts_from(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("overrides: {student: {objective: {ce: {}, kd: {temperature: 3}}}}\n")
    recipe = load(path, None, ["overrides.student.objective.kd.weight=2", "overrides.baseline.objective.ce.weight=3"])
    student, baseline = (recipe.stage_for(role, "m").objective for role in ("student", "baseline"))
    assert (list(student.weighted()), student.kd.temperature, student.kd.weight) == (["ce", "kd"], 3, 2)  # type: ignore[union-attr]
    assert (list(baseline.weighted()), baseline.ce.weight) == (["ce", "kd"], 3)  # type: ignore[union-attr]
    with pytest.raises(RecipeError, match="which of them it starts from can't be told"):
        load(path, None, ["overrides.resnet18.objective.kd.weight=2"])


def test_a_mapping_in_a_setting_changes_the_keys_that_it_names() -> None:
    recipe = load(None, None, ["stage.optimizer.weight_decay=0.5", "stage.optimizer={lr: 1e-3}", "overrides.student={ema: 0.9}",
                               "overrides.student={epochs: 3}", "stage.objective.kd={temperature: 2}"])  # fmt: skip
    assert (recipe.stage.optimizer.lr, recipe.stage.optimizer.weight_decay) == (1e-3, 0.5)
    assert recipe.overrides["student"] == {"ema": 0.9, "epochs": 3}
    assert recipe.stage.objective.kd is not None
    assert (recipe.stage.objective.kd.temperature, recipe.stage.objective.kd.weight) == (2, 0.9)


def bomb(depth: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join(f'*a{i - 1}' for _ in range(10))}]" for i in range(1, depth)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (bomb(20), "line 4: more than 10,000 keys and values"),
        ("seed: &a [*a]\n", "line 1: *a contains itself"),
        ("stage: &s\n  optimizer: *s\n", "line 2: *s contains itself"),
        ("seed: " + "[" * 100_000, "nested more than 32 deep"),
        ("seed: " + "{a: " * 60_000, "nested more than 32 deep"),
        ("# " + "x" * 300_000, "longer than 262,144 characters"),
        ("data: [" + "1, " * 20_000 + "1]", "more than 10,000 keys and values"),
        ("seed: " + "1" * 10_000, "a number of 10,000 characters"),
        ("seed: !!int x\n", "not what its tag says"),
        ("seed: !!bool x\n", "not what its tag says"),
        ("seed: !!python/object/apply:os.system ['touch pwned']\n", "is no plain value"),
        ("seed: !!binary aGFsbG8=\n", "is no plain value"),
        ("seed: 1\nseed: 2\n", "line 2: 'seed' is given twice"),
        ("? [a, b]\n: 1\n", "a key must be text"),
    ],
    ids=lambda v: v[:20],
)
def test_yaml_that_is_no_bounded_plain_data_is_refused_at_once(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeError, match=r"r\.yaml") as error:
        load(tmp_path / "r.yaml")
    assert said in str(error.value)


def test_aliases_keys_that_yaml_takes_for_booleans_and_dates_are_read_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "stage: {objective: {ce: &ce {weight: 0.5}, hint: {on: maps}, cosine: *ce}}\n"
        "data: {source: 2026-11-22}\nbaseline: no\noverrides: {student: {optimizer: {<<: {lr: 1e-3}}}}\n"
    )
    recipe = load(tmp_path / "r.yaml")
    assert recipe.stage.objective.hint is not None
    assert recipe.stage.objective.hint.on == "maps"
    assert recipe.stage.objective.cosine is not None
    assert (recipe.stage.objective.cosine.weight, recipe.data.source, recipe.baseline) == (0.5, "2026-11-22", False)
    assert recipe.stage_for("student", "m").optimizer.lr == 1e-3
