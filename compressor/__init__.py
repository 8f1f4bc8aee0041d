"""Turn a large, accurate teacher into a small, fast, deployable student, and prove what it did.

    import compressor

    run = compressor.distill(teacher="resnet50", student="mobilenetv3", data="photos/")
    compressor.predict(run.run, "new-photos/")

`__all__` is what is promised; each function takes the options of the command of its name. Nothing heavy is imported
before a name is used.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_MODULES = {
    "benchmark": "workflows.benchmark", "BenchmarkResult": "workflows.benchmark",
    "distill": "workflows.distill", "DistillResult": "workflows.distill",
    "doctor": "workflows.doctor", "DoctorResult": "workflows.doctor",
    "evaluate": "workflows.evaluate", "EvaluateResult": "workflows.evaluate",
    "export": "workflows.export", "ExportResult": "workflows.export",
    "generate": "workflows.generate", "GenerateResult": "workflows.generate",
    "list_models": "workflows.models", "ModelsResult": "workflows.models",
    "plan": "workflows.estimate", "PlanResult": "workflows.estimate",
    "predict": "workflows.predict", "PredictResult": "workflows.predict",
    "remove_stores": "workflows.cache", "stores": "workflows.cache", "StoresResult": "workflows.cache",
    "report": "workflows.report", "ReportResult": "workflows.report", "ComparisonResult": "workflows.report",
    "speculate": "workflows.speculate", "SpeculateResult": "workflows.speculate",
    "students": "workflows.students", "StudentsResult": "workflows.students",
    "try_out": "workflows.try_out", "TryOutResult": "workflows.try_out",
    "tune": "workflows.tune", "TuneResult": "workflows.tune",
    "Recipe": "recipe",
    "Progress": "progress", "Silent": "progress",
    "ArtifactError": "errors", "CheckpointError": "errors", "CompressorError": "errors", "DataError": "errors",
    "MissingExtraError": "errors", "ParityError": "errors", "ProviderError": "errors", "RecipeError": "errors",
    "UsageError": "errors",
}  # fmt: skip
"""Name → the module below this package that it is in."""

__all__ = [
    "ArtifactError", "BenchmarkResult", "CheckpointError", "ComparisonResult", "CompressorError", "DataError",
    "DistillResult", "DoctorResult", "EvaluateResult", "ExportResult", "GenerateResult", "MissingExtraError",
    "ModelsResult", "ParityError", "PlanResult", "PredictResult", "Progress", "ProviderError", "Recipe",
    "RecipeError", "ReportResult", "Silent", "SpeculateResult", "StoresResult", "StudentsResult", "TryOutResult",
    "TuneResult", "UsageError", "__version__", "benchmark", "distill", "doctor", "evaluate", "export", "generate",
    "list_models", "plan", "predict", "remove_stores", "report", "speculate", "stores", "students", "try_out", "tune",
]  # fmt: skip

if TYPE_CHECKING:
    from compressor.errors import (
        ArtifactError,
        CheckpointError,
        CompressorError,
        DataError,
        MissingExtraError,
        ParityError,
        ProviderError,
        RecipeError,
        UsageError,
    )
    from compressor.progress import Progress, Silent
    from compressor.recipe import Recipe
    from compressor.workflows.benchmark import BenchmarkResult, benchmark
    from compressor.workflows.cache import StoresResult, remove_stores, stores
    from compressor.workflows.distill import DistillResult, distill
    from compressor.workflows.doctor import DoctorResult, doctor
    from compressor.workflows.estimate import PlanResult, plan
    from compressor.workflows.evaluate import EvaluateResult, evaluate
    from compressor.workflows.export import ExportResult, export
    from compressor.workflows.generate import GenerateResult, generate
    from compressor.workflows.models import ModelsResult, list_models
    from compressor.workflows.predict import PredictResult, predict
    from compressor.workflows.report import ComparisonResult, ReportResult, report
    from compressor.workflows.speculate import SpeculateResult, speculate
    from compressor.workflows.students import StudentsResult, students
    from compressor.workflows.try_out import TryOutResult, try_out
    from compressor.workflows.tune import TuneResult, tune


def __getattr__(name: str) -> Any:
    """A promised name, imported now.

    Raises:
        MissingExtraError: it needs a package that is not installed.
    """
    if name not in _MODULES:
        raise AttributeError(f"module 'compressor' has no attribute '{name}'")
    try:
        with warnings.catch_warnings():
            # Of huggingface's progress bars in a notebook without ipywidgets: ours need none.
            warnings.filterwarnings("ignore", message="IProgress not found")
            found = getattr(importlib.import_module(f"compressor.{_MODULES[name]}"), name)
    except ModuleNotFoundError as error:
        from compressor.packages import require

        require((error.name or "").partition(".")[0])
        raise
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
