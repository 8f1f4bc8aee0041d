"""`report`: a run's report built anew from its folder, or several runs side by side. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compressor import runfolder
from compressor.data.config import DataConfig
from compressor.data.groups import has_groups
from compressor.data.load import load_dataset
from compressor.display import surroundings
from compressor.errors import MissingExtraError, UsageError
from compressor.files import write_json, write_text
from compressor.progress import Progress
from compressor.reporting import build, comparison, screen
from compressor.reporting.document import Comparison, Report
from compressor.reporting.screen import Block, Shown
from compressor.runfolder import RunFolder
from compressor.seeds import leaves_no_trace
from compressor.workflows.evaluate import recipe_data, shift_of


@dataclass(frozen=True, kw_only=True)
class ReportResult(Shown):
    """A run's report."""

    run: Path
    """Its folder, in which the report lies as HTML, Markdown, CSV and JSON."""
    document: Report
    """`report.json`."""

    def blocks(self) -> list[Block]:
        """The headline table and what the teacher's help was worth."""
        return screen.report(RunFolder(self.run), self.document)

    def _repr_html_(self) -> str:
        page = self.run / "report.html"
        return screen.framed(page) if page.is_file() else super()._repr_html_()


@dataclass(frozen=True, kw_only=True)
class ComparisonResult(Shown):
    """Several runs side by side."""

    output: Path
    """The folder with comparison.html and comparison.md."""
    document: Comparison

    def blocks(self) -> list[Block]:
        """A line per run."""
        return screen.comparison(self.document, self.output)


@leaves_no_trace
def report(
    runs: str | Path | Sequence[str | Path] | None = None,
    *,
    output: str | Path = ".",
    progress: Progress | None = None,
    shift: bool = False,
) -> ReportResult | ComparisonResult:
    """Rebuilds a run's report from what its folder holds, or compares several runs.

    Args:
        runs: None: the newest one.
        output: folder for the comparison of several.
        shift: measures the run under damage first, where that was not done yet; needs torch and the run's data.

    Raises:
        UsageError: no such run; with `shift`, several, or data that are not here.
    """
    progress = progress or surroundings()
    named = [] if runs is None else [str(run) for run in ([runs] if isinstance(runs, str | Path) else runs)]
    if shift and len(named) > 1:
        raise UsageError("--shift measures one run; give it for each, then compare them")
    if len(named) > 1:
        return ComparisonResult(output=Path(output), document=compare_runs(named, Path(output), progress))
    folder = runfolder.open_run(named[0]) if named else runfolder.newest()
    return ReportResult(run=folder.path, document=rebuild(folder, progress, shift=shift))


def rebuild(run: RunFolder, progress: Progress, *, shift: bool = False) -> Report:
    """A run's report, built anew; what it shows of the data is stored when it is missing and they are at hand.

    With `shift` the models are measured under damage, where they were not yet.
    """
    dataset = None
    config = recipe_data(run.path)
    if shift and not run.shift.is_file():
        if config is None:
            raise UsageError(f"run '{run.path}' has no recipe.yaml, which says what its data are")
        dataset = load_dataset(config, progress)
        write_json(run.shift, shift_of(run, dataset, progress))
    elif config is not None and run.teacher() and run.shipped() and _lacking(run, config):
        try:
            dataset = load_dataset(config, progress)
        except UsageError as error:
            progress.say(f"the report lacks what is shown of the data: {error}")
    return build.write(run, dataset)


def _lacking(run: RunFolder, config: DataConfig) -> bool:
    """Whether the data could tell what the run folder doesn't: pictures, or groups that were named since."""
    return not run.examples.is_file() or (not run.groups.is_file() and has_groups(config.source))


def compare_runs(named: list[str], output: Path, progress: Progress) -> Comparison:
    """Several runs side by side; writes `comparison.md` and `comparison.html` into the folder `output`."""
    runs = [runfolder.open_run(name) for name in named]
    document = comparison.compare([(run, rebuild(run, progress)) for run in runs])
    write_text(output / "comparison.md", comparison.to_markdown(document))
    try:
        write_text(output / "comparison.html", comparison.to_html(document))
    except MissingExtraError as error:
        progress.say(f"comparison.html was not written: {error}")
    return document
