"""Writes golden_gpt2.npz: what `transformers` answers for the models of `gpt2s.CASES`. Run where it is installed.

python -m tests.models.text.make_golden_gpt2
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compressor.packages import import_timm
from tests.models.text import gpt2s

GOLDEN = Path(__file__).with_name("golden_gpt2.npz")


def answers(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Logits (batch, length, vocabulary), and hidden states after each layer but the last, and after the last norm."""
    import_timm()  # before anything imports torchvision
    from transformers import GPT2LMHeadModel  # type: ignore[import-not-found,unused-ignore]

    model = GPT2LMHeadModel.from_pretrained(folder).eval()
    with torch.no_grad():
        said = model(gpt2s.batch(), output_hidden_states=True)
    return {"logits": said.logits.numpy(), "hidden": torch.stack(said.hidden_states[1:]).numpy()}


def main() -> None:
    found: dict[str, Any] = {}
    for name, changed in gpt2s.CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            said = answers(gpt2s.write(Path(folder), **changed))
        found |= {f"{name}/{key}": array for key, array in said.items()}
    np.savez_compressed(GOLDEN, **found)


if __name__ == "__main__":
    main()
