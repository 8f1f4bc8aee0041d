"""Image files from strangers: one way to open them, bounded in formats, in pixels and in memory."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from compressor.artifact.images import FORMATS, ROOM, SUFFIXES, images_in, open_image, to_rgb
from compressor.data.config import DataConfig
from compressor.data.images.decoded import with_decoded
from compressor.data.load import load_dataset
from compressor.progress import Silent
from tests.conftest import compress, paint


def png(width: int, height: int, *, empty: bool = False) -> bytes:
    """A black image, a few kB however large it is; where it is `empty`, a header and nothing behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"" if empty else zlib.compress(bytes((1 + width) * height), 1)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_exif(exif: bytes) -> bytes:
    return saved(Image.new("RGB", (40, 30), "red"), "JPEG", exif=b"Exif\0\0" + exif)


@pytest.mark.parametrize(
    "exif",
    [
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01",
        b"MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\x01\x1a\0\x05\0\0\0\x01\xff\xff\xff\xf0",
        b"II*\0\xff\xff\xff\xff",
        b"nonsense",
    ],
)
def test_damaged_exif_never_ends_a_command(exif: bytes, tmp_path: Path) -> None:
    with contextlib.suppress(OSError):
        assert open_image(with_exif(exif)).mode == "RGB"


def test_any_error_of_a_decoder_is_a_damaged_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Image.Image) -> None:
        raise struct.error("unpack requires a buffer of 12 bytes")

    monkeypatch.setattr(Image.Image, "getexif", broken)
    with pytest.raises(OSError, match=r"damaged image: unpack requires"):
        open_image(with_exif(b"II*\0\x08\0\0\0\0\0"))


def test_only_the_named_formats_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[object] = []

    def ghostscript(*given: object, **_: object) -> Image.Image:
        ran.append(given)
        return Image.new("RGB", (8, 8))

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", ghostscript)
    (tmp_path / "a.jpg").write_bytes(saved(Image.new("RGB", (8, 8)), "EPS"))
    for kind in ("ICO", "PCX", "TGA", "SGI", "DDS"):
        (tmp_path / f"{kind}.jpg").write_bytes(saved(Image.new("RGB", (8, 8)), kind))
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(OSError, match="damaged image: it is none of JPEG, PNG"):
            open_image(path)
    assert not ran
    assert len(FORMATS) <= len(SUFFIXES)


@pytest.mark.parametrize("size", [(60_000, 60_000), (90_000, 1_001), (89_200, 1_000), (1, 2**31 - 1)])
def test_a_header_of_too_many_pixels_is_enough_to_refuse_it(size: tuple[int, int]) -> None:
    """There is nothing behind it: whoever decoded a pixel would say so."""
    with pytest.raises(OSError, match=r"damaged image: .*(more than 89 million|exceeds limit)"):
        open_image(png(*size, empty=True))


def test_a_long_strip_does_not_fill_the_decoded_store(photos: Path) -> None:
    Image.new("RGB", (2, 40_000)).save(photos / "red" / "strip.png")
    dataset = load_dataset(DataConfig(source=str(photos)))
    stored = with_decoded(dataset, 32, Silent()).setup.stored
    assert stored is not None
    strip = stored(dataset.ids.index("red/strip.png"))
    assert strip.width * strip.height < 20_000


def test_many_threads_hold_few_large_images_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six PNGs of 60 kB once took 2.8 GB, and more on more cores."""
    monkeypatch.setattr(ROOM, "size", 5_000)
    lock, held, most = threading.Lock(), 0, 0
    data = png(50, 40)

    def shown(which: int) -> int:
        nonlocal held, most
        image = open_image(data)
        with lock:
            held += image.width * image.height
            most = max(most, held)
        time.sleep(0.005)  # it is looked at
        with lock:
            held -= image.width * image.height
        return which

    assert list(ROOM.work(shown, range(30), threads=16)) == list(range(30))
    assert most == 4_000


def test_a_thread_that_holds_a_large_image_may_open_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for room must not wait for itself."""
    monkeypatch.setattr(ROOM, "size", 100)
    data = saved(Image.new("RGB", (20, 20)), "PNG")
    done = threading.Event()

    def both() -> None:
        with ROOM:
            for _ in range(3):
                open_image(data)
        done.set()

    threads = [threading.Thread(target=both, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert done.is_set()
    assert not any(thread.is_alive() for thread in threads)


def test_pixel_ranges_go_by_the_mode_never_by_the_content() -> None:
    dim = np.full((4, 4), 200, np.uint16)
    bright = np.full((4, 4), 300, np.uint16)
    for values in (dim, bright):
        image = open_image(saved(Image.fromarray(values), "PNG"))
        assert np.asarray(image).max() == 1
    half = open_image(saved(Image.fromarray(np.full((4, 4), 0.5, np.float32)), "TIFF"))
    assert np.asarray(half).min() == np.asarray(half).max() == 128
    with pytest.raises(OSError, match="damaged image: its float pixels are not in 0…1"):
        open_image(saved(Image.fromarray(np.full((4, 4), 128.0, np.float32)), "TIFF"))
    with pytest.raises(OSError, match="damaged image: its float pixels are not in 0…1"):
        open_image(saved(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF"))


def test_converting_in_bands_equals_converting_at_once() -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (700, 90, 4), dtype=np.uint8))
    paper = Image.new("RGBA", image.size, (255, 255, 255, 255))
    assert to_rgb(image).tobytes() == Image.alpha_composite(paper, image).convert("RGB").tobytes()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_what_is_no_file_is_no_image(tmp_path: Path) -> None:
    """Opening a pipe waits for ever."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "nowhere.jpg").symlink_to(tmp_path / "none")
    assert [p.name for p in images_in(tmp_path)] == ["nowhere.jpg"]
    with pytest.raises(OSError, match="no file"):
        open_image(tmp_path / "pipe.jpg")


def test_broken_links_and_folders_among_unlabelled_images_are_left_out(photos: Path, tmp_path: Path) -> None:
    loose = tmp_path / "loose"
    for index in range(4):
        paint(loose / f"{index}.png", 0, 900 + index)
    (loose / "folder.jpg").mkdir()
    (loose / "nowhere.jpg").symlink_to(tmp_path / "none")
    dataset = load_dataset(DataConfig(source=str(photos), unlabeled=str(loose)))
    assert len(dataset.splits["unlabeled"]) == 4
    assert [Path(name).name for name in dataset.unreadable] == ["nowhere.jpg"]


def test_predict_names_a_damaged_image_and_goes_on(run: Path, tmp_path: Path) -> None:
    paint(tmp_path / "fine.png", 0, 0)
    (tmp_path / "bomb.png").write_bytes(png(60_000, 60_000, empty=True))
    (tmp_path / "cut.png").write_bytes((tmp_path / "fine.png").read_bytes()[:900])
    done = compress("predict", run, tmp_path)
    assert done.exit_code == 1
    assert "fine.png: " in done.stdout
    assert "bomb.png: damaged image: " in done.stderr
    assert "cut.png: damaged image: " in done.stderr
    assert "Traceback" not in done.output
