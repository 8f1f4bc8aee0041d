"""The page as a mapping of names to files: what the server answers, and what a written folder holds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import PIL

from compressor.artifact import external
from compressor.artifact.session import Artifact
from compressor.errors import CompressorError, UsageError
from compressor.files import read_document, replacing
from compressor.web import assets
from compressor.web.document import WebExample, WebModel, WebPage

STATIC = Path(__file__).parent / "static"

OWN = (
    "index.html",
    "style.css",
    "page.mjs",
    "show.mjs",
    "worker.mjs",
    "pixels.mjs",
    "png.mjs",
    "text.mjs",
    "icon.svg",
    "offline.js",
)
"""The package's own files, in `static/`."""

ABOUT = "page.json"
"""Which models lie beside the page; by it a folder is known to be one of ours."""

POLICY = {
    "default-src": "'none'",
    "script-src": "'self' 'wasm-unsafe-eval'",
    "style-src": "'self'",
    "img-src": "'self' blob:",
    "connect-src": "'self'",
    "worker-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
}
"""The page's Content-Security-Policy; `index.html` has it too, for servers that send none."""

LARGE = ("teacher.onnx", "report.html", *assets.WEBGPU)
"""Files that a page does without; a browser keeps those that it was asked for."""

LARGEST_EXAMPLE = 5_000_000
"""Bytes."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything that the page consists of."""

    document: WebPage
    files: dict[str, Path | bytes]
    """Name in the folder → the file, or its content."""

    @property
    def bytes(self) -> int:
        """All files together."""
        return sum(len(f) if isinstance(f, bytes) else f.stat().st_size for f in self.files.values())


def build(
    title: str,
    student: Artifact,
    *,
    runtime: dict[str, Path],
    teacher: Artifact | None = None,
    report: Path | None = None,
    examples: Sequence[tuple[Path, str]] = (),
    offline: bool = False,
) -> Page:
    """The page for a student.

    Args:
        title: what it is called.
        runtime: the files of onnxruntime-web (`assets.find`).
        teacher: what is asked beside it; one of other classes or of another modality is left out.
        examples: images to try it with, and what they are.
        offline: whether a browser is to keep it for when there is no network.

    Raises:
        UsageError: a model that the page can't feed.
        ArtifactError: a file that says nothing of itself.
    """
    files: dict[str, Path | bytes] = {name: STATIC / name for name in OWN}
    files |= runtime
    about = _model(student, "student.onnx")
    files["student.onnx"] = student.path
    beside = None
    if teacher is not None and comparable(student, teacher):
        beside = _model(teacher, "teacher.onnx")
        files["teacher.onnx"] = teacher.path
    if report is not None:
        files["report.html"] = report
    shown = []
    if about.modality == "image":
        for number, (path, label) in enumerate(examples):
            if path.stat().st_size <= LARGEST_EXAMPLE:
                shown.append(WebExample(file=f"example-{number:02d}{path.suffix.lower()}", label=label))
                files[shown[-1].file] = path
    document = WebPage(
        title=title, student=about, teacher=beside, report="report.html" if report else None, examples=shown,
        tall_first=int(PIL.__version__.partition(".")[0]) >= 13, runtime=assets.VERSION,
        webgpu=runtime.keys() >= assets.WEBGPU.keys(),
        offline=[*(n for n in files if n not in LARGE), ABOUT] if offline else None,
    )  # fmt: skip
    files[ABOUT] = json.dumps(document.as_dict(), ensure_ascii=False).encode()
    return Page(document=document, files=files)


def comparable(student: Artifact, teacher: Artifact) -> bool:
    """Whether both answer the same question."""
    ours, theirs = student.metadata, teacher.metadata
    return ours.modality == theirs.modality and ours.classes == theirs.classes


def _model(artifact: Artifact, file: str) -> WebModel:
    about = artifact.metadata
    preprocessing = about.preprocessing.model_dump(mode="json")
    if about.modality not in ("image", "text"):
        raise UsageError(
            f"{artifact.path} takes things of the modality '{about.modality}'; the page shows images and texts"
        )
    kind = preprocessing.get("tokenizer", {}).get("kind", "wordpiece")
    if kind != "wordpiece":
        raise UsageError(f"{artifact.path} has a tokenizer of the kind '{kind}'; the page reads WordPiece alone")
    if external.named(artifact.path):
        raise UsageError(
            f"{artifact.path} keeps weights in other files, which the page can't load; files of `compress export` are whole"
        )
    return WebModel(
        file=file, role=about.role, name=about.name, precision=about.precision, bytes=artifact.path.stat().st_size,
        classes=about.classes, modality=about.modality, preprocessing=preprocessing, output=about.output,
        temperature=about.temperature, top1=about.top1, inputs=[(e.name, e.type) for e in artifact.inputs],
        batch=artifact.batch, length=_length(artifact) if about.modality == "text" else None,
    )  # fmt: skip


def _length(artifact: Artifact) -> int | None:
    """The number of tokens that a graph of texts is frozen to."""
    width = artifact.inputs[0].shape[1]
    return width if isinstance(width, int) else None


def check(folder: Path) -> None:
    """Raises UsageError where a page can't be written into `folder`: other things lie there."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; name a folder for the page")
    if folder.is_dir() and any(folder.iterdir()) and not _is_ours(folder / ABOUT):
        raise UsageError(f"folder {folder} holds other things than a page of ours; name a new or an empty one")


def _is_ours(about: Path) -> bool:
    """Whether this is a `page.json` of a page, and not another program's."""
    try:
        return bool(read_document(about, WebPage))
    except CompressorError:
        return False


def write(page: Page, folder: Path) -> None:
    """Writes the page's files into `folder`, which is made where it is missing. Raises UsageError as `check`."""
    check(folder)
    for name, source in page.files.items():
        with replacing(folder / name) as temporary:
            if isinstance(source, bytes):
                temporary.write_bytes(source)
            else:
                shutil.copyfile(source, temporary)
    for left in (*LARGE, *(p.name for p in folder.glob("example-*"))):
        if left not in page.files:
            (folder / left).unlink(missing_ok=True)  # of a page that was here before
