"""The embedded dataset: 1,797 handwritten digits of 8 × 8 pixels, real, small enough to ship in the wheel.

E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository
(1998), CC BY 4.0; the same 1,797 images as scikit-learn's `load_digits`.
"""

from __future__ import annotations

from importlib.resources import files

import numpy as np
from PIL import Image

from compressor.data.config import AugmentConfig, DataConfig
from compressor.data.dataset import Source
from compressor.data.images.content import exact_print
from compressor.data.images.setup import settle
from compressor.data.prints import Prints
from compressor.progress import Progress


def read_digits(config: DataConfig, progress: Progress) -> Source:
    """The digits as a source."""
    with (
        (files("compressor.data.images") / "digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as stored,
    ):
        values, labels = stored["images"], stored["labels"]
    pixels = (values.astype(np.uint16) * 255 // 16).astype(np.uint8)  # stored as 0…16
    images = [Image.fromarray(image).convert("RGB") for image in pixels]
    return Source(
        name="digits",
        classes=[str(digit) for digit in range(10)],
        ids=[f"digits/{i:04d}" for i in range(len(labels))],
        labels=labels.astype(np.int64),
        read=lambda i: images[i],
        content="uci-digits-1797",
        notes=["data: the embedded handwritten digits (1,797 images of 8 × 8, 10 classes); --data FOLDER takes yours"],
        epochs=15,
        teacher_epochs=8,
        seeds=3,
        prints=Prints(exact=np.array([exact_print(image) for image in images], dtype=np.uint64)),
        setup=settle(
            config,
            size=32,
            # Upright, centred and tiny: a mild crop is all the variation they bear.
            augment=AugmentConfig(scale=(0.75, 1.0), ratio=(0.8, 1.25), hflip=0.0, color_jitter=0.0),
            in_memory=True,
        ),
    )
