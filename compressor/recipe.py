"""The recipe: every room's configuration in one document, read from YAML, options and `--set`.

Built-in defaults < recipe file < options < `--set`. All problems are named at once, each with where it
came from. A recipe that gives `objective` lists all its terms; every other section is merged key by key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator

from compressor import bounded_yaml
from compressor.benchmarking.config import BenchmarkConfig
from compressor.data.config import DataConfig
from compressor.distillation.config import Guidance, Override, StageConfig
from compressor.errors import RecipeError, did_you_mean
from compressor.evaluation.config import EvaluationConfig
from compressor.models.config import StudentConfig, TeacherConfig
from compressor.options import lasting
from compressor.quantization.config import ArtifactsConfig
from compressor.section import SEED, Section, choices, field_at, section_of, shortened, span, wanted
from compressor.text import as_bytes

DEEPEST_KEY = 8
"""Dots in a key of `--set`."""

ROLES = ("teacher", "assistant", "student", "baseline")


class Recipe(Section):
    """All that a run depends on, apart from the samples."""

    seed: int = Field(default=0, ge=-SEED, le=SEED)
    """Fixes initialisation and order."""
    seeds: Annotated[int, Field(ge=1, le=1000)] | Literal["auto"] = "auto"
    """How many seeds student and baseline are trained with: seed, seed + 1, …; `auto`: what the data suggest (digits 3,
    a folder 1), and 1 without a baseline. From one seed the report can't tell whether the teacher helped."""
    threads: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    """torch's threads on the CPU; `auto`: the cores that affinity and cgroup leave us, or OMP_NUM_THREADS."""
    time: str | None = None
    """What the whole run may take: `90s`, `10m`, `1h30m`. Measured steps turn it into epochs of every stage once, whatever
    epochs the recipe gives; the resolved recipe has these epochs and no `time`, so that a repeated run repeats them."""
    data: DataConfig = DataConfig()
    """The data."""
    teacher: TeacherConfig = TeacherConfig()
    """The model that teaches."""
    student: StudentConfig = StudentConfig()
    """The model that ships."""
    assistants: Literal["none", "auto"] | Annotated[list[str], Field(max_length=16)] = "none"
    """Intermediate teachers by name, largest first; `auto`: the pilot tries one, where the student fits badly what it is
    taught and there is time for it."""
    guidance: Guidance = "last"
    """Who teaches the student: `last`, the model before it in the chain; `all`, the mean of all before it; `route`, the
    teacher's earlier weights in turn, then the teacher; `snapshots`, the mean of these."""
    pilot: Annotated[float, Field(gt=0, le=2)] | Literal["off"] = 0.25
    """What the pilot may take to choose what is `auto` of objective and assistants: a share of the student's training
    time; `off`: the default is taken."""
    baseline: bool = True
    """Trains the student without a teacher too, to measure what the teacher's help is worth."""
    ship: Literal["better", "student"] = "better"
    """What ships of the taught student and the baseline: the one that is better on validation, or the taught one whatever
    validation says."""
    stage: StageConfig = StageConfig()
    """Every stage's defaults."""
    overrides: dict[str, Override] = Field(default={}, max_length=64)
    """Changes of `stage` for a role (teacher, assistant, student, baseline) or a model's name."""
    export: ArtifactsConfig = ArtifactsConfig()
    """Which files are made."""
    benchmark: BenchmarkConfig = BenchmarkConfig()
    """What is measured."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """What the report tells beyond test as it is."""

    @field_validator("time", mode="before")
    @classmethod
    def _with_units(cls, value: Any) -> str | None:
        if value is not None:
            lasting(str(value))
        return None if value is None else str(value)

    def stage_for(self, role: str, model: str) -> StageConfig:
        """The stage's configuration for a role and a model; a baseline trains like the student."""
        values = self.stage.model_dump()
        keys = ["student", role] if role == "baseline" else [role]
        for key in [*keys, model]:
            values = merge(values, self.overrides.get(key, {}))
        return StageConfig.model_validate(values)

    def to_yaml(self) -> str:
        """The recipe as a document that `load` reads back to an equal one."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)

    @property
    def fingerprint(self) -> str:
        """Changes when any value does."""
        return hashlib.blake2b(as_bytes(self.to_yaml()), digest_size=8).hexdigest()


def load(
    path: Path | Recipe | None = None,
    options: dict[str, Any] | None = None,
    settings: Sequence[str] | Mapping[str, Any] | None = None,
) -> Recipe:
    """A recipe from a file (or another recipe), options (dotted key → value) and settings.

    Settings are `--set key=value` strings, or a mapping of dotted key → value.

    Raises:
        RecipeError: with every problem and where its value came from.
    """
    values: dict[str, Any] = Recipe().model_dump()
    lines: dict[str, int] = {}
    if isinstance(path, Recipe):
        values, path = path.model_dump(), None
    elif path is not None:
        document, lines = _read(path)
        values = merge(values, document)
    given = [(key, value, "option") for key, value in (options or {}).items()]
    set_, problems = _settings(settings or [])
    # Last, what changes a part of an override's objective: it starts from the stage's own as it is then.
    given += sorted(set_, key=lambda one: one[0].startswith("overrides."))
    for key, value, _ in given:
        try:
            values = _laid(values, key, value)
        except ValueError as error:
            problems.append(str(error))
    origins = {key: origin for key, _, origin in given}
    recipe = None
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        problems += [_problem(e, values, origins, lines, Recipe) for e in error.errors()]
    problems += _override_problems(values, lines)
    if problems or recipe is None:
        problems = list(dict.fromkeys(problems))
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise RecipeError(f"{count} in {path or 'the recipe'}:\n" + "\n".join(f"  {p}" for p in problems))
    return recipe


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, section by section; `objective` and `overrides` are replaced whole."""
    merged = dict(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict) and key not in ("objective", "overrides"):
            merged[key] = merge(base[key], value)
        else:
            merged[key] = value
    return merged


def find(path: str | Path | None) -> Path | None:
    """A recipe's file: as given, or one of those that come with the package, by name.

    Raises:
        RecipeError: there is no such file; the packaged ones are listed.
    """
    if path is None or Path(path).is_file():
        return None if path is None else Path(path)
    path = Path(path)
    packaged = files("compressor") / "recipes"  # in the wheel; in a checkout they lie beside the package
    if not packaged.is_dir():
        packaged = Path(str(files("compressor"))).parent / "recipes"
    name = path.name if path.suffix else f"{path.name}.yaml"
    if (packaged / name).is_file():
        return Path(str(packaged / name))
    known = sorted(entry.name for entry in packaged.iterdir() if entry.name.endswith(".yaml"))
    raise RecipeError(f"no recipe '{path}' (from --recipe); packaged ones: {', '.join(known)}")


def _scalar(raw: str) -> Any:
    """What stands behind `--set key=`: as YAML, where it is some, else the text itself."""
    try:
        return bounded_yaml.parse(raw)[0]
    except yaml.YAMLError:
        return raw


def _read(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The document and the line of each dotted key."""
    try:
        with path.open(encoding="utf-8") as file:
            document, lines = bounded_yaml.parse(file.read(bounded_yaml.LARGEST + 1))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe {path} can't be read: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise RecipeError(f"recipe {path}{line} is no valid YAML: {getattr(error, 'problem', error)}") from error
    if document is None:
        return {}, {}
    if not isinstance(document, dict):
        raise RecipeError(f"recipe {path} must be a mapping (key: value), not a {type(document).__name__}")
    return document, lines


def _settings(settings: Sequence[str] | Mapping[str, Any]) -> tuple[list[tuple[str, Any, str]], list[str]]:
    """(dotted key, value, where it came from) of each setting, and what is wrong with the others."""
    if isinstance(settings, Mapping):
        return [(str(key), value, "settings") for key, value in settings.items()], []
    found, problems = [], []
    for text in settings:
        key, equals, raw = text.partition("=")
        key, shown = key.strip(), shortened(text)[1:-1]
        if not equals or not key or key.count(".") >= DEEPEST_KEY:
            problems.append(f"--set {shown}: write it as key=value, such as stage.optimizer.lr=3e-4")
        else:
            found.append((key, _scalar(raw), f"--set {shown}"))
    return found, problems


def _laid(values: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """`values` with what a dotted key says laid over them, as a recipe file with this key alone would be.

    Only a key that leads into an `objective` differs: it changes that one value and keeps the other terms. Of an
    override without an objective these are the stage's (the student's, for a baseline).

    Raises:
        ValueError: whose objective is meant can't be told.
    """
    *sections, last = key.split(".")
    if sections[:1] == ["overrides"] and sections[2:3] == ["objective"]:
        values = _with_own_objective(values, sections[1])
    here = values = dict(values)
    for section in sections:
        inner = here.get(section)
        here[section] = dict(inner) if isinstance(inner, dict) else {}
        here = here[section]
    here[last] = merge({last: here.get(last)}, {last: value})[last]
    return values


def _with_own_objective(values: dict[str, Any], name: str) -> dict[str, Any]:
    """`values` whose override of `name` has an objective to change: its own, else the one that would be used for it."""
    overrides = values["overrides"] if isinstance(values.get("overrides"), dict) else {}
    with_one = {key: own["objective"] for key, own in overrides.items() if isinstance(own, dict) and "objective" in own}
    if name in with_one:
        return values
    if name not in ROLES and with_one:
        raise ValueError(
            f"overrides.{name}.objective: overrides.{next(iter(with_one))} has an objective, too, and which of them it "
            "starts from can't be told; list all its terms"
        )
    stage = values["stage"].get("objective", {}) if isinstance(values.get("stage"), dict) else {}
    start = with_one.get("student", stage) if name == "baseline" else stage
    own = overrides.get(name)
    own = (own if isinstance(own, dict) else {}) | {"objective": start}
    return values | {"overrides": overrides | {name: own}}


def _problem(
    error: Any, values: Any, origins: dict[str, str], lines: dict[str, int], model: type[Section], above: str = ""
) -> str:
    """One line: where, which value, what to do; `values` lie in the section `model`, and `above` is what leads there."""
    path = [str(part) for part in error["loc"]]
    while path and not _reaches(values, path):
        path.pop()  # pydantic appends the union branch it tried, which nobody wrote
    key = ".".join(path)
    where = origins.get(key) or (f"line {lines[key]}" if key in lines else None)
    prefix = f"{where}: " if where else ""
    if error["type"] == "invalid_key":
        return f"{prefix}{above}{key or 'the recipe'}: keys must be text, and {shortened(error['loc'][-1])} is none"
    if error["type"] == "extra_forbidden":
        known = _fields(path[:-1], model)
        name = path[-1][:200]
        hint = did_you_mean(name, known) or f" (available: {', '.join(known)})"
        return f"{prefix}unknown key '{above}{'.'.join([*path[:-1], name])}'{hint}"
    message = error["msg"][0].lower() + error["msg"][1:]
    field = field_at(model, path)
    if field and span(field) and not error["type"].startswith("value"):
        message = f"give {wanted(field)}" if choices(field) else f"{message} ({span(field)})"
    return f"{prefix}{above}{key} = {shortened(_value(values, path))}: {message.removeprefix('value error, ')}"


def _fields(path: list[str], model: type[Section]) -> list[str]:
    """The keys that the section at `path` knows."""
    field = field_at(model, path)
    section = (section_of(field) if field else None) if path else model
    return list(section.model_fields) if section else []


def _reaches(values: Any, path: list[str]) -> bool:
    for part in path:
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    return True


def _value(values: Any, path: list[str]) -> Any:
    for part in path:
        values = values[part]
    return values


def _override_problems(values: dict[str, Any], lines: dict[str, int]) -> list[str]:
    """Overrides are parts of a stage: each is checked as it would be used."""
    problems = []
    overrides = values.get("overrides")
    for name, change in overrides.items() if isinstance(overrides, dict) else ():
        if not isinstance(change, dict):
            problems.append(f"overrides.{name} = {shortened(change)}: must be a mapping, such as {{epochs: 60}}")
            continue
        own = merge(StageConfig().model_dump(), change)
        try:
            StageConfig.model_validate(own)
        except ValidationError as error:
            below = {key.removeprefix(f"overrides.{name}."): line for key, line in lines.items()}
            for e in error.errors():
                problems.append(_problem(e, own, {}, below, StageConfig, f"overrides.{name}."))
    return problems
