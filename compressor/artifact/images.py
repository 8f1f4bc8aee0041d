"""Images as inputs: from a file to the numbers a model takes; one code for training, evaluation and the device.

Only numpy and pillow.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import Field, FiniteFloat

from compressor.artifact.preprocessing import GraphInput, Inputs, Preprocessing, noise
from compressor.artifact.room import Room
from compressor.errors import UsageError

Positive = Annotated[float, Field(ge=1e-6, le=1e6)]
Interpolation = Literal["nearest", "bilinear", "bicubic"]

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
"""Files that are taken for images."""

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""Whose decoders a file may reach, whatever its name: Pillow has 40 more, and one calls Ghostscript."""

PIXELS = 89_000_000
"""The most that an image may have: 360 MB in memory. A little above, Pillow itself begins to warn."""

ROOM = Room(128_000_000)
"""Pixels that all threads together may hold decoded: about 1 GB, copies included."""

WIDE = {"I": 1 / 257, "I;16": 1 / 257, "I;16B": 1 / 257, "I;16L": 1 / 257, "F": 255.0}
"""Modes of more than 8 bits, and what takes their values (0…65535; 0…1) to 0…255."""

READER = 2
"""Counted up when other files become readable, or files read otherwise: what is stored of images goes by it."""

_BAND = 1 << 20  # pixels that are converted at once


class ImagePreprocessing(Preprocessing):
    """What happens to an image before a model sees it: resize the short side, crop the centre, normalise.

    Encoded: `pixels`, (batch, size, size, 3) uint8.
    """

    modality: ClassVar[str] = "image"

    size: int = Field(ge=1, le=8192)
    """Height and width of the model's input, pixels."""
    crop_pct: float = Field(default=1.0, ge=1e-3, le=1.0)
    """The share of the resized short side that the centre crop keeps."""
    interpolation: Interpolation = "bilinear"
    mean: tuple[FiniteFloat, FiniteFloat, FiniteFloat] = (0.485, 0.456, 0.406)
    """Per-channel mean of values in 0…1."""
    std: tuple[Positive, Positive, Positive] = (0.229, 0.224, 0.225)
    """Per-channel standard deviation of values in 0…1."""

    @property
    def view_key(self) -> str:
        """Mean and standard deviation are applied later: only the size makes another view."""
        return f"{self.size} px"

    @property
    def encoding(self) -> str:
        """Mean and standard deviation are applied later."""
        return f"{self.size} px, {self.crop_pct!r}, {self.interpolation}"

    @property
    def shown(self) -> str:
        """`64 px`."""
        return f"{self.size} px"

    def sources(self, name: str) -> list[tuple[str, Any]]:
        """An image file, or all images at any depth of a folder."""
        path = Path(name).expanduser()
        if not path.is_dir():
            return [(str(path), path)]
        inside = images_in(path)
        if not inside:
            raise UsageError(f"folder '{name}' holds no images ({', '.join(sorted(SUFFIXES))})")
        return [(str(p), p) for p in inside]

    def open(self, source: Any) -> Image.Image:
        """See `open_image`."""
        return open_image(source)

    def encode(self, things: Sequence[Any]) -> Inputs:
        """RGB images, resized and cropped."""
        return {"pixels": np.stack([to_pixels(image, self) for image in things])}

    def feed(self, inputs: Inputs, graph: Sequence[GraphInput]) -> tuple[NDArray[Any], ...]:
        """(batch, 3, size, size) floats with the model's mean and std, or pixels where the graph takes them."""
        if graph[0].type == "tensor(uint8)":
            return (inputs["pixels"],)
        images = normalize(inputs["pixels"], self)
        return (images.astype(np.float16 if graph[0].type == "tensor(float16)" else np.float32, copy=False),)

    def example(
        self, batch: int, graph: Sequence[GraphInput], length: int | Sequence[int] | None = None
    ) -> tuple[NDArray[Any], ...]:
        """Noise, at this size where the graph leaves it open."""
        return (noise(graph[0], batch, self.size),)

    def contradiction(self, graph: Sequence[GraphInput]) -> str | None:
        """The size."""
        sides = graph[0].shape[1:3] if graph[0].type == "tensor(uint8)" else graph[0].shape[2:4]
        other = next((side for side in sides if isinstance(side, int) and side != self.size), None)
        return None if other is None else f"image size {self.size}, where its graph has {other}"

    def facts(self) -> dict[str, int]:
        """The size, pixels."""
        return {"size": self.size}


def images_in(folder: Path) -> list[Path]:
    """The image files at any depth of a folder, hidden ones apart, sorted; links to nowhere are among them.

    Neither folders nor pipes: opening one of these would wait for ever. The order is the same on every system.
    """
    found = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and (p.is_file() or not p.exists()))
    seen = (p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))
    return sorted(seen, key=lambda p: p.parts)


def open_image(source: str | Path | bytes | BinaryIO) -> Image.Image:
    """The image at `source` as RGB, upright.

    EXIF orientation is applied and transparency laid over white; 16-bit greys (0…65535) and floats (0…1) become 8 bits.
    Large images wait for each other in `ROOM`.

    Raises:
        OSError: no file, or "damaged image": of none of `FORMATS`, of more than `PIXELS`, or anything else that its
            decoder finds.
    """
    with ROOM, _header(source) as image:
        try:
            ROOM.take(image.width * image.height)
            image.load()
            return to_rgb(image)
        except Exception as error:  # each decoder has its own
            raise _damaged(error) from error


def image_size(source: str | Path) -> tuple[int, int]:
    """Width and height as stored, from the header alone. Raises OSError as `open_image`."""
    with _header(source) as image:
        return image.size


@contextmanager
def _header(source: str | Path | bytes | BinaryIO) -> Iterator[Image.Image]:
    """The image at `source`, of which no pixel was decoded and which has few enough of them."""
    if isinstance(source, str | Path):
        source = Path(source)
        if source.exists() and not source.is_file():
            raise OSError(f"no file: {source}")
    handle = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        image = Image.open(handle, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise _damaged(f"it is none of {', '.join(FORMATS)}") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # not there, or not to be read
            raise
        raise _damaged(error) from error
    with image:
        if image.width * image.height > PIXELS:
            raise _damaged(f"{image.width} × {image.height} pixels, more than {PIXELS / 1e6:.0f} million")
        yield image


def _damaged(reason: object) -> OSError:
    return OSError(f"damaged image: {str(reason) or type(reason).__name__}")


def to_rgb(image: Image.Image) -> Image.Image:
    """`image` upright, without transparency, in 8-bit RGB.

    What a value means goes by the mode alone, never by the values: two images of one set must not differ in it.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode == "RGB":
        return image
    if image.mode in WIDE:
        return _in_bands(image, _eight_bits)
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        return _in_bands(image, _on_paper)
    return image.convert("RGB")


def _in_bands(image: Image.Image, change: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """`change`, which looks at single pixels, a few rows at a time: it may need much memory for each."""
    rows = max(1, _BAND // max(1, image.width))
    found = Image.new("RGB", image.size)
    for top in range(0, image.height, rows):
        found.paste(change(image.crop((0, top, image.width, min(image.height, top + rows)))), (0, top))
    return found


def _eight_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image, dtype=np.float32)
    if image.mode == "F" and not (np.abs(values) <= 2).all():  # a hair above 1 is what resampling leaves
        raise ValueError("its float pixels are not in 0…1")
    scaled = values * WIDE[image.mode]
    return Image.fromarray(np.clip(scaled, 0, 255).round().astype(np.uint8)).convert("RGB")


def _on_paper(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba).convert("RGB")


def to_pixels(image: Image.Image, preprocessing: ImagePreprocessing) -> NDArray[np.uint8]:
    """Resizes the short side to size / crop_pct and crops the centre.

    Args:
        image: RGB.

    Returns:
        (size, size, 3) uint8.
    """
    size = preprocessing.size
    short = max(size, round(size / preprocessing.crop_pct))
    scale = short / min(image.size)
    width, height = (max(short, round(side * scale)) for side in image.size)
    if (width, height) != image.size:
        # Crop on the source first: a 10,000 × 10 panorama must not be blown up whole.
        left, top = (width - size) / 2 / scale, (height - size) / 2 / scale
        box = (left, top, left + size / scale, top + size / scale)
        image = image.resize((size, size), _RESAMPLING[preprocessing.interpolation], box=_inside(box, image.size))
        return np.asarray(image, dtype=np.uint8)
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)), dtype=np.uint8)


def _inside(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """`box` clipped to the image: rounding can put an edge a hair outside."""
    left, top, right, bottom = box
    return max(left, 0.0), max(top, 0.0), min(right, float(size[0])), min(bottom, float(size[1]))


def normalize(pixels: NDArray[np.uint8], preprocessing: ImagePreprocessing) -> NDArray[np.float32]:
    """(batch, size, size, 3) uint8 → (batch, 3, size, size) float32 with the model's mean and std."""
    mean = np.asarray(preprocessing.mean, dtype=np.float32) * 255
    std = np.asarray(preprocessing.std, dtype=np.float32) * 255
    return np.ascontiguousarray(((pixels - mean) / std).transpose(0, 3, 1, 2), dtype=np.float32)
