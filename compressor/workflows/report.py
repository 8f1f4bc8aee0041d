"""`report`: a run's report built anew from its folder, or several runs side by side. No torch."""

from __future__ import annotations

from pathlib import Path

from compressor import runfolder
from compressor.data.load import load_dataset
from compressor.errors import MissingExtraError, UsageError
from compressor.files import write_text
from compressor.progress import Progress
from compressor.reporting import build, comparison
from compressor.reporting.document import Comparison, Report
from compressor.runfolder import RunFolder
from compressor.workflows.evaluate import recipe_data


def rebuild(run: RunFolder, progress: Progress) -> Report:
    """A run's report, built anew; pictures for it are stored when they are missing and the images are at hand."""
    dataset = None
    config = recipe_data(run.path)
    wanted = run.teacher() and run.shipped() and not run.examples.is_file()
    if config is not None and wanted:
        try:
            dataset = load_dataset(config, progress)
        except UsageError as error:
            progress.say(f"the report has no example images: {error}")
    return build.write(run, dataset)


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
