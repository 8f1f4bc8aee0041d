"""The recipe: every room's configuration in one document, read from YAML, options and `--set`.

Built-in defaults < recipe file < options < `--set`. All problems are named at once, each with where it
came from. A recipe that gives `objective` lists all its terms; every other section is merged key by key.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError, field_validator

from compressor.benchmarking.config import BenchmarkConfig
from compressor.data.config import DataConfig
from compressor.distillation.config import Override, StageConfig
from compressor.errors import RecipeError, did_you_mean
from compressor.evaluation.config import EvaluationConfig
from compressor.models.config import StudentConfig, TeacherConfig
from compressor.options import lasting
from compressor.quantization.config import ArtifactsConfig

ROLES = ("teacher", "assistant", "student", "baseline")


class Recipe(BaseModel):
    """All that a run depends on, apart from the samples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    """Fixes initialisation and order."""
    seeds: PositiveInt | Literal["auto"] = "auto"
    """How many seeds student and baseline are trained with: seed, seed + 1, …; `auto`: what the data suggest (digits 3,
    a folder 1), and 1 without a baseline. From one seed the report can't tell whether the teacher helped."""
    threads: PositiveInt | Literal["auto"] = "auto"
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
    assistants: Literal["none"] | list[str] = "none"
    """Intermediate teachers by name, largest first."""
    baseline: bool = True
    """Trains the student without a teacher too, to measure what the teacher's help is worth."""
    ship: Literal["better", "student"] = "better"
    """What ships of the taught student and the baseline: the one that is better on validation, or the taught one whatever
    validation says."""
    stage: StageConfig = StageConfig()
    """Every stage's defaults."""
    overrides: dict[str, Override] = {}
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
        return hashlib.blake2b(self.to_yaml().encode(), digest_size=8).hexdigest()


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
    origins: dict[str, str] = {}
    lines: dict[str, int] = {}
    if isinstance(path, Recipe):
        values, path = path.model_dump(), None
    elif path is not None:
        document, lines = _read(path)
        values = merge(values, document)
    for key, value in (options or {}).items():
        _put(values, key, value)
        origins[key] = "option"
    problems: list[str] = []
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            _put(values, key, value)
            origins[key] = "settings"
        settings = None
    for text in settings or []:
        key, equals, raw = text.partition("=")
        if not equals or not key:
            problems.append(f"--set {text}: write it as key=value, such as stage.optimizer.lr=3e-4")
            continue
        _put(values, key.strip(), _scalar(raw))
        origins[key.strip()] = f"--set {text}"
    recipe = None
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        problems += [_problem(e, values, origins, lines) for e in error.errors()]
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


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads `1e-3` as text; here it is the number that everyone means."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _scalar(raw: str) -> Any:
    try:
        return yaml.load(raw, Loader=_Loader)
    except yaml.YAMLError:
        return raw


def _read(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The document and the line of each dotted key."""
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.compose(text, Loader=_Loader)
        document = yaml.load(text, Loader=_Loader)
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
    lines: dict[str, int] = {}

    def walk(node: Any, prefix: str) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                dotted = f"{prefix}{key.value}"
                lines[dotted] = key.start_mark.line + 1
                walk(value, dotted + ".")

    walk(tree, "")
    return document, lines


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        inner = values.get(section)
        values[section] = dict(inner) if isinstance(inner, dict) else {}
        values = values[section]
    values[last] = value


def _problem(error: Any, values: dict[str, Any], origins: dict[str, str], lines: dict[str, int]) -> str:
    """One line: where, which value, what to do."""
    path = [str(part) for part in error["loc"]]
    while path and not _reaches(values, path):
        path.pop()  # pydantic appends the union branch it tried, which nobody wrote
    key = ".".join(path)
    where = origins.get(key) or (f"line {lines[key]}" if key in lines else None)
    prefix = f"{where}: " if where else ""
    if error["type"] == "extra_forbidden":
        known = _fields(path[:-1])
        hint = did_you_mean(path[-1], known) or f" (available: {', '.join(known)})"
        return f"{prefix}unknown key '{key}'{hint}"
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{prefix}{key} = {_value(values, path)!r}: {message}"


def _fields(path: list[str]) -> list[str]:
    """The keys that the section at `path` knows."""
    model: Any = Recipe
    for part in path:
        if part in getattr(model, "model_fields", {}):
            annotation = model.model_fields[part].annotation
            candidates = [annotation, *getattr(annotation, "__args__", ())]
            model = next((c for c in candidates if hasattr(c, "model_fields")), None)
        elif model is Recipe or model is None:
            return []
    return list(getattr(model, "model_fields", {}))


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
            problems.append(f"overrides.{name} = {change!r}: must be a mapping, such as {{epochs: 60}}")
            continue
        try:
            StageConfig.model_validate(merge(StageConfig().model_dump(), change))
        except ValidationError as error:
            for e in error.errors():
                inner = _problem(e, change, {}, {})
                key = f"overrides.{name}." + ".".join(str(p) for p in e["loc"])
                where = f"line {lines[key]}: " if key in lines else ""
                if e["type"] == "extra_forbidden":
                    hint = did_you_mean(str(e["loc"][-1]), _fields(["stage", *[str(p) for p in e["loc"][:-1]]]))
                    inner = f"unknown key '{key}'{hint}"
                problems.append(where + inner)
    return problems
