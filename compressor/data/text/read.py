"""From files to a source: texts with their labels and splits, and what is left out and why."""

from __future__ import annotations

import hashlib
import itertools
import math
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.artifact.metadata import showable
from compressor.data.config import DataConfig
from compressor.data.dataset import Source
from compressor.data.prints import Prints
from compressor.data.tally import NAMED, Tally
from compressor.data.text.columns import LOOKED_AT, Columns, columns_of
from compressor.data.text.files import ACCEPTED, SPLIT_NAMES, WHOLE, Layout, fits, layout, one_each
from compressor.data.text.options import Options, checked
from compressor.data.text.records import Record, records, whole
from compressor.data.text.setup import TextSetup
from compressor.errors import DataError
from compressor.progress import Progress
from compressor.text import as_bytes, line

Thing = str | tuple[str, str]
"""A text, or a pair of texts."""


TUNED_VIEWS = 40_000
"""Views in which a trained encoder is fine-tuned, within the bounds of `tuning_epochs`."""


@dataclass(kw_only=True)
class Gathered:
    """What was read so far."""

    ids: list[str] = field(default_factory=list)
    texts: list[Thing] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    """`WHOLE` where neither file nor column says one."""
    damaged: list[str] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    def take(self, name: str, values: dict[str, Any], columns: Columns, split: str) -> None:
        """A record: as a sample, or counted among those that are none."""
        found = {key: _plain(values.get(key)) for key in columns.needed}
        texts = [found[key] for key in (columns.text, columns.pair) if key is not None]
        label = "" if columns.label is None else (found[columns.label] or "").strip()
        known = texts[0] if len(texts) == 1 else None
        if not all(text is not None and text.strip() for text in texts):
            self.tally.add("without a text", name)
        elif any("\0" in text for text in texts if text):
            self.tally.add("with a NUL character in its text", name)
        elif columns.label is not None and not label:
            self.tally.add("without a label", name)
        else:
            self.ids.append(name)
            self.texts.append(known if known is not None else (texts[0] or "", texts[1] or ""))
            self.labels.append(label)
            self.splits.append(split)


def read_texts(config: DataConfig, progress: Progress) -> Source:
    """Texts with labels as a source; see `files.layout` for where they may lie.

    Raises:
        DataError: nothing of that kind is there, files that can't be read, columns that can't be guessed, fewer than two
            classes, splits whose classes differ, or more damaged records than `data.max_unreadable`.
    """
    options = checked(config.options)
    root = Path(config.source).expanduser()
    found = layout(root)
    if found is None:
        raise DataError(f"no texts at '{config.source}' (from --data or data.source): give {ACCEPTED}")
    progress.say(f"reading texts: {', '.join(path.name for _, path in found.files)}")
    got, columns = _gathered(root, found, options)
    _refuse_damage(got, config)
    return _source(root, got, columns, options, config.limit)


def prints_of(texts: Iterable[Thing]) -> NDArray[np.uint64]:
    """(texts,): equal where two say the same but for case, white space and how Unicode composes."""
    found = [hashlib.blake2b(as_bytes(_comparable(text)), digest_size=8).digest() for text in texts]
    return np.frombuffer(b"".join(found), dtype="<u8").astype(np.uint64)


def fingerprint(parts: Iterable[str]) -> str:
    """Changes when a part does, or where one ends."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        raw = as_bytes(part)
        digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.hexdigest()


def parts_of(text: Thing) -> Sequence[str]:
    """Its one text, or its two."""
    return (text,) if isinstance(text, str) else text


def guessed(path: Path, find: Callable[[list[dict[str, Any]]], Columns]) -> tuple[Columns, Iterator[Record]]:
    """The columns by the file's first records that matter, and all its records. Raises DataError."""
    stream = records(path)
    first = list(itertools.islice(stream, LOOKED_AT))
    if not first:
        raise DataError(f"{path} holds no records")
    matter = [r.values for r in first if r.damage is None and _split(r.split, WHOLE) is not None]
    return find(matter or [r.values for r in first]), itertools.chain(first, stream)


def _gathered(root: Path, found: Layout, options: Options) -> tuple[Gathered, Columns | None]:
    got, columns = Gathered(), None
    files = one_each(found, root)
    for split in sorted(files, key=("train", WHOLE, "validation", "test").index):
        path = files[split]
        if found.classes:
            _gather_folder(got, root, path, split)
            continue
        said = options
        if columns is not None:  # one guess for all files
            said = options.model_copy(update={"text": columns.text, "pair": columns.pair, "label": columns.label})
        of, stream = guessed(path, lambda first, path=path, said=said: columns_of(path, first, said))  # type: ignore[misc]
        columns = columns or of
        _gather_file(got, path, stream, of, split)
    return got, columns


def _gather_file(got: Gathered, path: Path, stream: Iterator[Record], columns: Columns, split: str) -> None:
    for record in stream:
        name = f"{path.name}:{record.place}"
        said = record.values.get(columns.split) if columns.split and split == WHOLE else record.split
        own = _split(said, split)
        if own is None:
            got.tally.add(f"of the split '{line(said)[:40]}', which is neither train, validation nor test", name)
        elif record.damage is not None:
            got.tally.add(record.damage, name)
            got.damaged.append(name)
        else:
            got.take(name, record.values, columns, own)


def _gather_folder(got: Gathered, root: Path, folder: Path, split: str) -> None:
    """A folder with a folder of .txt files for each class: a file is a text."""
    columns = Columns(text="text", label="label")
    classes = sorted((p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")), key=lambda p: p.name)
    for place in classes:
        files = sorted(p for p in place.iterdir() if p.is_file())
        fits(files)
        for path in files:
            name = path.relative_to(root).as_posix()
            if path.suffix.lower() != ".txt":
                got.tally.add(f"unsupported type {line(path.suffix)}", name)
                continue
            try:
                got.take(name, {"text": whole(path), "label": place.name}, columns, split)
            except UnicodeDecodeError:
                got.tally.add("no UTF-8", name)
                got.damaged.append(name)


def _split(said: Any, otherwise: str) -> str | None:
    """The split that is meant; None where it is none of ours."""
    if said is None:
        return otherwise
    return SPLIT_NAMES.get(str(said).strip().lower())


def _refuse_damage(got: Gathered, config: DataConfig) -> None:
    everything = len(got.ids) + len(got.damaged)
    if got.damaged and (len(got.damaged) > config.max_unreadable * everything or not got.ids):
        reasons = "; ".join(str(entry) for entry in got.tally.unused())
        raise DataError(
            f"{len(got.damaged)} of {everything} records can't be read ({reasons}).\n"
            f"That is more than data.max_unreadable = {config.max_unreadable:g} allows; repair them, or raise the limit."
        )


def tuning_epochs(samples: int) -> int:
    """Passes over so many training texts that make a trained encoder their teacher.

    4 as Devlin et al. 2019 (appendix A.3) tell of sets from 10,000 texts on, up to 20 for few (Mosbach et al. 2021): a
    model that knows its words loses what it has when it is trained on longer.
    """
    return max(4, min(20, -(-TUNED_VIEWS // max(1, samples))))


def _source(root: Path, got: Gathered, columns: Columns | None, options: Options, limit: int | None) -> Source:
    classes, labels = _classes(root, got)
    fixed, notes = _fixed(root, got, labels, classes)
    pair = columns is not None and columns.pair is not None
    words = [sum(len(part.split()) for part in parts_of(text)) for text in got.texts]
    told = [part for text in got.texts for part in parts_of(text)]
    learnt = len(fixed.get("train", labels))
    return Source(
        name=line(root.absolute().stem if root.is_file() else root.absolute().name),
        classes=classes,
        ids=got.ids,
        labels=labels,
        read=got.texts.__getitem__,
        content=fingerprint([*classes, *got.ids, *got.labels, *told]),
        modality="text",
        setup=TextSetup(pair=pair, max_length=options.max_length, mask=options.mask, options=options),
        fixed=fixed,
        teacher_epochs=tuning_epochs(min(learnt, limit or learnt)),
        notes=[*([columns.how] if columns and columns.how else []), *notes],
        unreadable=sorted(got.damaged),
        unused=got.tally.unused(),
        prints=Prints(exact=prints_of(got.texts), words=np.array(words, dtype=np.int32)),
    )


def _classes(root: Path, got: Gathered) -> tuple[list[str], NDArray[np.int64]]:
    """Classes by code point, or by value where all are numbers; (samples,) their numbers."""
    names = sorted(set(got.labels))
    if len(names) < 2:
        left = "; ".join(str(entry) for entry in got.tally.unused())
        raise DataError(
            f"{root}: {len(got.ids)} texts of {len(names)} class(es) ({', '.join(names) or 'none'}); "
            "a classifier needs at least two." + (f"\nNot used: {left}" if left else "")
        )
    if odd := [name for name in names if not showable(name)]:
        raise DataError(f"{root}: the label {odd[0][:60]!r} can't be shown or is too long: give it another name")
    try:
        values = {name: float(name) for name in names}
    except ValueError:
        values = {}
    if values and all(map(math.isfinite, values.values())):
        names.sort(key=lambda name: (values[name], name))
    number = {name: i for i, name in enumerate(names)}
    return names, np.array([number[label] for label in got.labels], dtype=np.int64)


def _fixed(
    root: Path, got: Gathered, labels: NDArray[np.int64], classes: list[str]
) -> tuple[dict[str, NDArray[np.int64]], list[str]]:
    """Split → its samples, where the data say so. Raises DataError where a split lacks a class of another."""
    own = np.array(got.splits)
    fixed = {name: np.flatnonzero(own == name) for name in ("train", "validation", "test") if (own == name).any()}
    if not fixed:
        return {}, []
    notes = []
    if "train" not in fixed:
        raise DataError(f"{root}: no text is of the split train (there are {', '.join(fixed)})")
    if (own == WHOLE).any():  # a row without a split's name is for training
        fixed["train"] = np.flatnonzero((own == "train") | (own == WHOLE))
    if "test" not in fixed and "validation" in fixed:
        fixed["test"] = fixed.pop("validation")
        notes.append(
            f"no test split in {root.name}: its validation split is kept for the final report, "
            "and validation is taken from train"
        )
    for name, indices in fixed.items():
        missing = [classes[c] for c in sorted(set(range(len(classes))) - set(labels[indices].tolist()))]
        if missing:
            raise DataError(
                f"{root}: {name} has no text of {len(missing)} class(es): {', '.join(missing[:NAMED])}"
                + (" …" if len(missing) > NAMED else "")
                + ".\nEvery split needs each class: add some, or take the class out of the others."
            )
    return fixed, notes


def _plain(value: Any) -> str | None:
    """A value of a record as text; None where it is none."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value) if isinstance(value, int | float) else None


def _comparable(text: Thing) -> str:
    return "\x1f".join(" ".join(unicodedata.normalize("NFC", part).casefold().split()) for part in parts_of(text))
