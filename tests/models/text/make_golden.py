"""Writes golden.npz: what `transformers` answers for the encoders of `folders.CASES`. Run where it is installed.

python -m tests.models.text.make_golden
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from compressor.packages import import_timm
from tests.models.text import folders

GOLDEN = Path(__file__).with_name("golden.npz")


def answers(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Logits, and hidden states after each layer (layers, batch, length, channels)."""
    import_timm()  # before anything imports torchvision
    from transformers import BertForSequenceClassification  # type: ignore[import-not-found,unused-ignore]

    model = BertForSequenceClassification.from_pretrained(folder, num_labels=folders.CLASSES).eval()
    given = {name: torch.from_numpy(array) for name, array in folders.batch().items()}
    with torch.no_grad():
        said = model(**given, output_hidden_states=True)
    return {"logits": said.logits.numpy(), "hidden": torch.stack(said.hidden_states[1:]).numpy()}


def main() -> None:
    found: dict[str, np.ndarray[Any, Any]] = {}
    for name, changed in folders.CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            said = answers(folders.write(Path(folder), **changed))
        found |= {f"{name}/{key}": array for key, array in said.items()}
    np.savez_compressed(GOLDEN, **cast(Any, found))


if __name__ == "__main__":
    main()
