"""From odd image files to pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compressor.artifact.images import ImagePreprocessing, normalize, open_image, to_pixels

PRE = ImagePreprocessing(size=32)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


GRADIENT = Image.fromarray(np.linspace(0, 255, 40 * 60).reshape(40, 60).astype(np.uint8))


@pytest.mark.parametrize(
    "data",
    [
        saved(GRADIENT, "PNG"),
        saved(GRADIENT.convert("RGBA"), "PNG"),
        saved(GRADIENT.convert("LA"), "PNG"),
        saved(GRADIENT.convert("RGB").quantize(16), "PNG"),
        saved(GRADIENT.convert("RGB").convert("CMYK"), "JPEG", quality=95),
        saved(Image.fromarray(np.asarray(GRADIENT).astype(np.uint16) * 257), "PNG"),
        saved(GRADIENT.convert("1"), "PNG"),
        saved(Image.new("RGB", (1, 1), (9, 9, 9)), "PNG"),
        saved(Image.new("RGB", (2000, 3), (9, 9, 9)), "PNG"),
    ],
    ids=["grey", "rgba", "grey+alpha", "palette", "cmyk", "16-bit", "bilevel", "1x1", "panorama"],
)
def test_every_kind_of_image_becomes_square_rgb(data: bytes) -> None:
    pixels = to_pixels(open_image(data), PRE)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8


def test_sixteen_bits_look_like_eight() -> None:
    wide = open_image(saved(Image.fromarray(np.asarray(GRADIENT).astype(np.uint16) * 257), "PNG"))
    assert np.abs(np.asarray(wide).astype(int) - np.asarray(GRADIENT.convert("RGB"))).max() <= 1


def test_exif_orientation_is_applied() -> None:
    image = Image.new("RGB", (20, 10), "black")
    image.paste("white", (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated: the left of the stored image is the top of what the camera saw
    upright = open_image(saved(image, "PNG", exif=exif))
    assert upright.size == (10, 20)
    assert np.asarray(upright)[:9].mean() > 200


def test_transparency_lies_over_white() -> None:
    assert np.asarray(open_image(saved(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), "PNG"))).min() == 255


@pytest.mark.parametrize("data", [b"", b"not an image", saved(GRADIENT, "PNG")[:200]])
def test_what_is_no_image_is_an_os_error(data: bytes) -> None:
    with pytest.raises(OSError, match="damaged image"):
        open_image(data)


def test_the_centre_is_what_is_kept() -> None:
    image = Image.new("RGB", (96, 32), "black")
    image.paste("white", (32, 0, 64, 32))
    assert to_pixels(image, PRE).min() == 255
    assert to_pixels(image.resize((192, 64), Image.Resampling.NEAREST), PRE)[:, 1:-1].min() == 255


def test_normalisation_equals_torchs_own(tmp_path: Path) -> None:
    import torch

    from compressor.models.timm.family import normalized

    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    theirs = normalized(torch.from_numpy(pixels).permute(0, 3, 1, 2), PRE).numpy()
    np.testing.assert_allclose(normalize(pixels, PRE), theirs, atol=1e-5)
