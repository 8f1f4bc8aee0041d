"""`try`: a page on which the student answers in the browser, served on this machine or written as files. No torch."""

from __future__ import annotations

import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path

from compressor import runfolder
from compressor.artifact import session
from compressor.artifact.session import Artifact
from compressor.display import surroundings
from compressor.errors import CompressorError, UsageError
from compressor.files import inside
from compressor.options import within
from compressor.packages import require
from compressor.progress import Progress
from compressor.reporting import examples
from compressor.reporting.screen import Block, Shown
from compressor.runfolder import RunFolder
from compressor.seeds import leaves_no_trace
from compressor.web import assets as runtimes
from compressor.web import page as pages
from compressor.web.document import WebPage
from compressor.web.page import Page, build, comparable
from compressor.web.server import PageServer


@dataclass(frozen=True, kw_only=True)
class TryOutResult(Shown):
    """A page that was shown or written."""

    document: WebPage
    """`page.json`."""
    folder: Path | None = None
    """Where it was written to."""
    bytes: int
    """All its files together."""

    def blocks(self) -> list[Block]:
        """Where it lies and how it is served."""
        if self.folder is None:
            return []
        return [
            f"Written: {self.folder} ({self.bytes / 1e6:.0f} MB); any web server shows it, as python -m http.server "
            f"--directory {self.folder} does on this machine. Cameras and threads need https or localhost."
        ]


@leaves_no_trace
def try_out(
    model: str | Path | None = None,
    *,
    write: str | Path | None = None,
    port: int = 0,
    open_page: bool = True,
    assets: str | Path | None = None,
    fetch: bool = False,
    progress: Progress | None = None,
) -> TryOutResult:
    """A page on which a student answers images or texts in the browser; it is served until Ctrl-C, or written.

    Args:
        model: an ONNX file or a run; None: the newest run. Of a run the page has its teacher and report, too.
        write: a folder for the page's files; nothing is served then.
        port: on 127.0.0.1; 0: a free one.
        open_page: opens the browser, where there is a terminal.
        assets: onnxruntime-web: npm's archive, or a folder that has its files; None: what is in the cache.
        fetch: has npm fetch it where the cache lacks it.

    Raises:
        UsageError: no such run, or a model that the page can't feed.
        ArtifactError: the file says nothing of itself, or holds a language model.
        MissingExtraError: onnxruntime-web is not here.
    """
    progress = progress or surroundings()
    within("port", port, 0, 65_535)
    require("onnxruntime")
    page = _page(model, assets, fetch, progress, offline=write is not None)
    if write is not None:
        return written(page, Path(write))
    with PageServer(page, port) as server:
        progress.say(f"{page.document.title}: {server.url} (Ctrl-C ends it)")
        if open_page and sys.stdin is not None and sys.stdin.isatty():
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            progress.say("the page is closed")
    return TryOutResult(document=page.document, bytes=page.bytes)


def written(page: Page, folder: Path) -> TryOutResult:
    """The page as files in `folder`."""
    pages.write(page, folder)
    return TryOutResult(document=page.document, folder=folder, bytes=page.bytes)


def ready(folder: Path) -> None:
    """Raises, before anything is exported, what would keep a page from being written into `folder`."""
    runtimes.find()
    pages.check(folder)


def export_page(model: Path, folder: str | Path, progress: Progress) -> TryOutResult:
    """What `export --web` writes. Raises as `try_out`."""
    return written(_page(model, None, False, progress, offline=True), Path(folder))


def _page(
    model: str | Path | None, given: str | Path | None, fetch: bool, progress: Progress, *, offline: bool = False
) -> Page:
    """The page for an exported file, with what its run has beside it."""
    path = runfolder.exported(model if model is not None else runfolder.newest().path)
    student = session.load(path)
    _ = student.metadata  # a file that can't be shown is said before anything is fetched
    if fetch and given is not None:
        raise UsageError("--fetch and --assets both say where onnxruntime-web comes from; give one")
    runtime = runtimes.fetch(progress) if fetch else runtimes.find(None if given is None else Path(given).expanduser())
    run = RunFolder(path.parent) if (path.parent / "run.json").is_file() else None
    if run is None:
        return build(path.stem, student, runtime=runtime, offline=offline)
    report = inside(run.path, "report.html")  # a run may come from a stranger: no link to another file is published
    return build(
        run.path.resolve().name, student, runtime=runtime, teacher=_teacher(run, student, progress),
        report=report if report and report.is_file() else None, examples=_examples(run), offline=offline,
    )  # fmt: skip


def _teacher(run: RunFolder, student: Artifact, progress: Progress) -> Artifact | None:
    """The run's exported teacher; None without one, or with one that answers another question."""
    folder = run.teacher()
    path = folder / "model.onnx" if folder else None
    if path is None or not path.is_file():
        return None
    try:
        found = session.load(path)
        if comparable(student, found):
            return found
        progress.say("the page is without the teacher: its classes are not the student's")
    except CompressorError as error:
        progress.say(f"the page is without the teacher: {error}")
    return None


def _examples(run: RunFolder) -> list[tuple[Path, str]]:
    """The run's pictures on which student and teacher disagree, and what they are."""
    found = []
    for entry in examples.stored(run):
        path = inside(run.path, entry.image) if entry.image else None
        if path and path.is_file() and path.suffix.lower() in (".png", ".jpg", ".jpeg"):
            found.append((path, entry.label))
    return found
