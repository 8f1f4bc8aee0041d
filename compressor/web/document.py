"""What the page knows of the models that it runs: `page.json` beside them."""

from __future__ import annotations

from typing import Any, Literal

from compressor.document import Document


class WebModel(Document):
    """An ONNX file that the page runs, from the file's own metadata."""

    file: str
    """Its name in the page's folder."""
    role: str
    """`student` or `teacher`, as its metadata has it."""
    name: str
    """The architecture's name in its family."""
    precision: str
    """`fp32`, `fp16` or `int8`."""
    bytes: int
    """Of the file."""
    classes: list[str]
    """Labels, in the order of the logits."""
    modality: str
    """`image` or `text`."""
    preprocessing: dict[str, Any]
    """What happens to an input before the model sees it; of texts the tokenizer with its vocabulary is in it."""
    output: Literal["logits", "probabilities"]
    """What the graph gives."""
    temperature: float | None = None
    """softmax(logits / temperature) is calibrated; null: nobody fitted one."""
    top1: float | None = None
    """Test accuracy, a fraction."""
    inputs: list[tuple[str, str]]
    """The graph's inputs in their order: name and type, in onnxruntime's spelling."""
    batch: int | None = None
    """The batch that the graph is frozen to."""
    length: int | None = None
    """Of texts, the number of tokens that the graph is frozen to."""


class WebExample(Document):
    """A test image to try the page with."""

    file: str
    """Its name in the page's folder."""
    label: str
    """What it is."""


class WebPage(Document):
    """`page.json` of `compress try`: which models lie beside the page, and how they are fed."""

    schema_version: int = 1
    """Of the document's form."""
    title: str
    """The run's name, or the file's."""
    student: WebModel
    """What the page is about."""
    teacher: WebModel | None = None
    """What it is compared with, where the run has an exported teacher."""
    report: str | None = None
    """The report's name in the folder."""
    examples: list[WebExample] = []
    """Test images on which student and teacher disagree."""
    tall_first: bool
    """Whether this Pillow resizes tall images vertically first, as 13 and later do: results differ in the last bit."""
    runtime: str
    """The version of onnxruntime-web beside the page."""
    webgpu: bool
    """Whether its files for WebGPU are there, too."""
    offline: list[str] | None = None
    """Files that a browser keeps for when there is no network; null for a page that is served on this machine."""
