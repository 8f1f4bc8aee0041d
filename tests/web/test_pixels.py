"""The page's PNG decoder and resampling, run in node, give the very pixels that Pillow gives."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from compressor.artifact.images import ImagePreprocessing, normalize, open_image, to_pixels

STATIC = Path(__file__).resolve().parents[2] / "compressor" / "web" / "static"

RUN = """
import fs from "node:fs";
const [folder, list] = process.argv.slice(1);
const { decodePng } = await import(folder + "/png.mjs"), { toPixels, normalise } = await import(folder + "/pixels.mjs");
for (const { image, how, out } of JSON.parse(fs.readFileSync(list, "utf8"))) {
  try {
    const found = await decodePng(new Uint8Array(fs.readFileSync(image)));
    const pixels = toPixels(found, how), floats = normalise(pixels, how);
    fs.writeFileSync(out + ".rgb", found.data);
    fs.writeFileSync(out + ".pixels", pixels);
    fs.writeFileSync(out + ".floats", floats);
    console.log(found.width, found.height);
  } catch (error) {
    console.log(error.message);
  }
}
"""

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def in_node(cases: list[dict[str, Any]], folder: Path) -> list[str]:
    """What the page makes of images: a line each; arrays lie beside."""
    (folder / "cases.json").write_text(json.dumps(cases))
    done = subprocess.run(
        ["node", "--input-type=module", "-e", RUN, STATIC.as_uri(), str(folder / "cases.json")],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def by_hand(
    path: Path, depth: int, colour: int, size: tuple[int, int], rng: np.random.Generator, **extra: bytes
) -> None:
    """A PNG of a kind that Pillow does not write: noise, one row filter after the other."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    rows = [
        bytes([y % 5]) + rng.integers(0, 256, (size[0] * channels * depth + 7) // 8, np.uint8).tobytes()
        for y in range(size[1])
    ]
    parts = [(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0))]
    parts += [(name.encode(), body) for name, body in extra.items()]
    parts += [(b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in parts)
    )


def kinds(folder: Path, rng: np.random.Generator) -> Iterator[Path]:
    """PNGs of every kind: colours, depths, transparency, orientation."""
    for number, (mode, shape) in enumerate([("L", ()), ("RGB", (3,)), ("LA", (2,)), ("RGBA", (4,)), ("RGB", (3,))]):
        pixels = rng.integers(0, 256, (23 + number, 31, *shape), np.uint8)
        yield _saved(Image.fromarray(pixels, mode=None if mode != "LA" else "LA"), folder / f"{number}-{mode}.png")
    smooth = Image.fromarray(rng.integers(0, 256, (6, 5, 3), np.uint8)).resize((70, 80), Image.Resampling.BICUBIC)
    yield _saved(smooth, folder / "smooth.png")
    yield _saved(smooth.quantize(7), folder / "palette.png")
    yield _saved(smooth.quantize(200), folder / "palette-clear.png", transparency=bytes(range(200)))
    yield _saved(smooth.convert("1"), folder / "bits.png")
    wide = Image.fromarray(rng.integers(0, 65536, (20, 30), np.uint16))
    yield _saved(wide, folder / "grey16.png")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield _saved(smooth.crop((0, 0, 40, 29)), folder / f"turned-{orientation}.png", exif=exif)
    extra = {"PLTE": rng.integers(0, 256, 48, np.uint8).tobytes()}
    for depth, colour, more in [
        (1, 0, {}), (2, 0, {}), (4, 0, {"tRNS": struct.pack(">H", 5)}), (8, 0, {"tRNS": struct.pack(">H", 7)}),
        (8, 2, {"tRNS": struct.pack(">HHH", 9, 9, 9)}), (16, 2, {}), (16, 4, {}), (16, 6, {}), (4, 3, extra),
        (2, 3, extra), (1, 3, extra | {"tRNS": b"\x80"}),
    ]:  # fmt: skip
        path = folder / f"hand-{depth}-{colour}.png"
        by_hand(path, depth, colour, (37, 19), rng, **more)
        yield path
    whole = Image.new("RGB", (11, 9))
    whole.putdata([tuple(p) for p in rng.integers(0, 256, (99, 3)).tolist()])
    yield interlaced(whole, folder / "interlaced.png")


def _saved(image: Image.Image, path: Path, **options: Any) -> Path:
    image.save(path, **options)
    return path


def interlaced(image: Image.Image, path: Path) -> Path:
    """`image` in Adam7's seven passes, which Pillow reads and does not write."""
    pixels = np.asarray(image)
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = [b"\0" + row.tobytes() for x, y, dx, dy in passes for row in pixels[y::dy, x::dx] if row.size]
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", *image.size, 8, 2, 0, 0, 1)),
        (b"IDAT", zlib.compress(b"".join(rows))),
        (b"IEND", b""),
    ]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in parts)
    )
    return path


def test_pixels_are_pillows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cases: list[dict[str, Any]] = []
    for number, path in enumerate(kinds(tmp_path, rng)):
        for interpolation in ("nearest", "bilinear", "bicubic"):
            size, share = int(rng.integers(1, 60)), float(rng.choice([1.0, 0.875, 0.95, rng.uniform(0.3, 1)]))
            how = ImagePreprocessing(size=size, crop_pct=share, interpolation=interpolation)
            out = tmp_path / f"out-{number}-{interpolation}"
            cases.append({"image": str(path), "how": how.model_dump(mode="json"), "out": str(out)})
    lines = in_node(cases, tmp_path)
    assert len(lines) == len(cases)
    for case, line in zip(cases, lines, strict=True):
        image, how = open_image(case["image"]), ImagePreprocessing.model_validate(case["how"])
        assert line == f"{image.width} {image.height}", case
        found = np.fromfile(case["out"] + ".rgb", np.uint8).reshape(image.height, image.width, 3)
        np.testing.assert_array_equal(found, np.asarray(image), str(case))
        expected = to_pixels(image, how)
        np.testing.assert_array_equal(
            np.fromfile(case["out"] + ".pixels", np.uint8).reshape(expected.shape), expected, str(case)
        )
        floats = normalize(expected[None], how)
        np.testing.assert_array_equal(np.fromfile(case["out"] + ".floats", np.float32).reshape(floats.shape), floats)


def test_damaged_and_endless_pngs_are_a_sentence(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    by_hand(tmp_path / "whole.png", 8, 2, (40, 40), rng)
    content = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.png").write_bytes(content[:8])
    (tmp_path / "huge.png").write_bytes(content[:16] + struct.pack(">II", 100_000, 1000) + content[24:])
    how = ImagePreprocessing(size=8).model_dump(mode="json")
    cases = [
        {"image": str(tmp_path / n), "how": how, "out": str(tmp_path / n)} for n in ("cut.png", "empty.png", "huge.png")
    ]
    assert in_node(cases, tmp_path) == [
        "a damaged PNG: it ends too early",
        "a damaged PNG",
        "100000 × 1000 pixels, more than 89 million",
    ]
