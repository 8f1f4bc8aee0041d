"""What a run's language models make of stretches of the test text: each writes them on, for the report."""

from __future__ import annotations

import numpy as np

from compressor.data.dataset import Dataset
from compressor.evaluation.torch_predictor import reader_of
from compressor.files import write_json
from compressor.models.text.gpt2 import Gpt2
from compressor.progress import Progress
from compressor.reporting.foretold import Continuations, Continued
from compressor.runfolder import RunFolder
from compressor.workflows.ship import Results, best_seed

PROMPTS, PROMPT, NEW = 3, 24, 40
"""Stretches of the text, their tokens, and those that follow; fewer where a window has fewer."""
ROLES = ("teacher", "baseline", "student")


def collect(run: RunFolder, results: Results, dataset: Dataset, progress: Progress) -> None:
    """`continuations.json`, greedily, by the models of the seeds that are best on validation; nothing of other models."""
    roles = [role for role in ROLES if any(own == role for own, _ in results)]
    found = {role: results[role, best_seed(results, role)][0] for role in roles}
    models = {role: result.model() for role, result in found.items() if result.card.language}
    if not models or not all(isinstance(model, Gpt2) for model in models.values()):
        return
    setup = dataset.setup
    tokenizer, stream, length = setup.tokenizer, setup.stream("test"), setup.length
    prompt = max(1, min(PROMPT, length // 3, len(stream) // 4))
    new = max(1, min(NEW, length - prompt))
    progress.say(f"writing {PROMPTS} texts on")
    readers = {role: reader_of(model, tokenizer.size) for role, model in models.items()}
    texts = []
    for at in np.linspace(0, max(0, len(stream) - prompt - new), PROMPTS + 2).astype(int)[1:-1]:
        ids, follows = stream[at : at + prompt], stream[at + prompt : at + prompt + new]
        told = {"text": tokenizer.decode(follows.tolist())}
        for role, read in readers.items():
            written = ids.astype(np.int64)
            for _ in range(new):
                written = np.append(written, read(written[None])[0, -1].argmax())
            told[role] = tokenizer.decode(written[prompt:].tolist(), special=True)
        texts.append(Continued(prompt=tokenizer.decode(ids.tolist()), texts=told))
    write_json(run.continuations, Continuations(texts=texts))
