"""What it takes to index a folder of a million images, and to look into 50,000 JPEGs.

    python benchmarks/indexing.py --data path/to/cifar10 --save

Listing: hard links of one JPEG a class, in 1,000 class folders; each figure is of a fresh process (wall, CPU seconds, peak
RSS). `list`: the folder walked, names, sizes and times at hand. `first`: the content pass over them (of equal bytes one is
decoded, so that this is reading and hashing). `again`: the whole reading of the unchanged folder, and its splits drawn.

Content: JPEGs of 100 px made from `--data` (without it from the digits); read, hashed, decoded, and both prints made. Then
once more with nothing changed, and once after a stop in the middle.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import finish, parser

LIMITS = {"seconds": 180.0, "peak_rss_mb": 1500.0}
"""What listing and reading again have to stay below, on two cores that are otherwise idle."""


def main() -> None:
    """Generates, measures and prints; with --child, is one of the measured processes."""
    made = parser(__doc__)
    made.add_argument("--data", help="a folder of images, from which the JPEGs are made")
    made.add_argument("--files", type=int, default=1_000_000, help="files of the listing part")
    made.add_argument("--classes", type=int, default=1000)
    made.add_argument("--images", type=int, default=50_000, help="JPEGs of the content part")
    made.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = made.parse_args()
    if arguments.child:
        print(json.dumps(PARTS[arguments.child[0]](Path(arguments.child[1]))))
        return
    if arguments.quick:
        arguments.files, arguments.classes, arguments.images = 20_000, 100, 1000
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ["COMPRESS_CACHE"] = str(root / "cache")
        links(root / "many", arguments.files, arguments.classes)
        many = {part: spawn(part, root / "many") for part in ("list", "first", "again")}
        jpegs(root / "photos", arguments.images, arguments.data)
        photos = {part: spawn(part, root / "photos") for part in ("half", "content", "unchanged")}
    report(arguments, many, photos, [*load, *os.getloadavg()])


def report(arguments: argparse.Namespace, many: dict[str, Any], photos: dict[str, Any], load: list[float]) -> None:
    """The figures, the load beside them: other processes share the cores."""
    passes = [photos["half"], photos["content"]]
    rest = sum(p["images"] for p in passes) / sum(p["cpu_seconds"] for p in passes)
    rows = {f"{arguments.files} files: {k}": v for k, v in many.items()}
    rows |= {f"{arguments.images} JPEGs: {k}": v for k, v in photos.items()}
    lines = [(k, *(f"{v[x]:.1f}" for x in ("seconds", "cpu_seconds", "peak_rss_mb"))) for k, v in rows.items()]
    figures = {"files": arguments.files, "many": many, "photos": photos, "load": load, "per_core_second": rest}
    remarks = [
        f"Content pass: {rest:.0f} images per second of one core. Load average before {load[0]:.1f}, after {load[3]:.1f}; "
        f"where it is above the number of cores, the wall times are too long, the CPU seconds are not.",
    ]
    finish(arguments, "indexing", figures, title="Indexing a large folder, and looking into its images",
           header=("", "wall, s", "CPU, s", "peak RSS, MB"), lines=lines, remarks=remarks)  # fmt: skip


def links(root: Path, files: int, classes: int) -> None:
    """`files` names for one JPEG a class."""
    rng = np.random.default_rng(0)
    for label in range(classes):
        folder = root / f"class-{label:04d}"
        folder.mkdir(parents=True)
        first = folder / "image-000000.jpg"
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(first)
        os.utime(first, (10**9, 10**9))
        for index in range(1, files // classes):
            os.link(first, folder / f"image-{index:06d}.jpg")


def jpegs(root: Path, count: int, data: str | None) -> None:
    """JPEGs of 100 px in ten folders, made from real images."""
    from compressor.artifact.images import images_in, open_image

    if data is not None:
        found = images_in(Path(data).expanduser())
        sources: Callable[[int], Image.Image] = lambda i: open_image(found[i % len(found)])  # noqa: E731
    else:
        from compressor.data.config import DataConfig
        from compressor.data.load import load_dataset

        digits = load_dataset(DataConfig())
        sources = lambda i: digits.read(i % len(digits.ids))  # noqa: E731
    for index in range(count):
        path = root / f"class-{index % 10}" / f"{index:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = sources(index).resize((100, 100), Image.Resampling.BICUBIC)
        image.putpixel((index % 100, index // 100 % 100), (255, 0, 0))  # no two are the same where there are too few
        image.save(path, quality=90)
        os.utime(path, (10**9, 10**9))


def spawn(part: str, root: Path) -> dict[str, float]:
    """One part in a fresh process."""
    command = [sys.executable, __file__, "--child", part, str(root)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"{part}: {found}", file=sys.stderr, flush=True)
    return found


def measured(work: Callable[[], int]) -> dict[str, float]:
    """Seconds of wall and of CPU, and the process's peak memory."""
    import resource

    started, before = time.perf_counter(), time.process_time()
    count = work()
    seconds, used = time.perf_counter() - started, time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"seconds": seconds, "cpu_seconds": used, "peak_rss_mb": peak, "images": count}


def listing(root: Path) -> dict[str, float]:
    """The folder walked."""
    from compressor.data.images.index import list_folder

    return measured(lambda: len(list_folder(root).names))


def content_pass(root: Path, most: int | None = None) -> dict[str, float]:
    """The content pass over what was not looked at before; `most`: it is stopped after so many."""
    from compressor.data.images import content
    from compressor.data.images.index import list_folder
    from compressor.progress import Silent

    found = list_folder(root)
    opened = [0]
    original = content._row

    def counting(*args: Any) -> Any:
        opened[0] += 1
        if most is not None and opened[0] > most:
            raise KeyboardInterrupt
        return original(*args)

    content._row = counting  # type: ignore[assignment]

    def work() -> int:
        with contextlib.suppress(KeyboardInterrupt):
            content.inspect(root, found.names, found.sizes, found.times, Silent())
        return min(opened[0], most or opened[0])

    return measured(work)


def again(root: Path) -> dict[str, float]:
    """All that a run does with a folder it knows, before it reads the first sample."""
    from dataclasses import replace

    from compressor.data.config import DataConfig
    from compressor.data.dataset import build
    from compressor.data.kind import kind_of
    from compressor.data.prints import Prints
    from compressor.progress import Silent

    def work() -> int:
        config = DataConfig(source=str(root))
        source = kind_of("image").read(config, Silent())
        # Links show the same; a million photos do not.
        exact = np.random.default_rng(0).permutation(len(source.ids)).astype(np.uint64)
        return len(build(replace(source, prints=Prints(exact=exact)), config).ids)

    return measured(work)


def half(root: Path) -> dict[str, float]:
    """A content pass that is stopped in the middle."""
    return content_pass(root, sum(1 for _ in root.rglob("*.jpg")) // 2)


PARTS: dict[str, Callable[[Path], dict[str, float]]] = {
    "list": listing, "first": content_pass, "again": again, "half": half, "content": content_pass,
    "unchanged": content_pass,
}  # fmt: skip

if __name__ == "__main__":
    main()
