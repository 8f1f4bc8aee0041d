"""Writes golden_masked.npz: what `transformers` answers for the models of `masked_folders.CASES`.

python -m tests.models.text.make_golden_masked
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from compressor.packages import import_timm
from tests.models.text import masked_folders

GOLDEN = Path(__file__).with_name("golden_masked.npz")


def answers(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Logits of all tokens, and hidden states after each layer (layers, batch, length, channels)."""
    import_timm()  # before anything imports torchvision
    from transformers import AutoModelForMaskedLM  # type: ignore[import-not-found,unused-ignore]

    model = AutoModelForMaskedLM.from_pretrained(folder).eval()
    ids, _ = masked_folders.batch()
    with torch.no_grad():
        said = model(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True)
    return {"logits": said.logits.numpy(), "hidden": torch.stack(said.hidden_states[1:]).numpy()}


def main() -> None:
    found: dict[str, np.ndarray[Any, Any]] = {}
    for name in (*masked_folders.CASES, "distilbert"):
        with tempfile.TemporaryDirectory() as folder:
            said = answers(masked_folders.of_case(Path(folder), name))
        found |= {f"{name}/{key}": array for key, array in said.items()}
    np.savez_compressed(GOLDEN, **cast(Any, found))


if __name__ == "__main__":
    main()
