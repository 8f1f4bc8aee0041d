"""Files of texts as people have them: read, guessed, counted, or refused in one sentence."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import compressor
from compressor.data.config import DataConfig
from compressor.data.document import DataReport
from compressor.data.load import load_dataset, modality_of
from compressor.data.splits import SPLITS
from compressor.data.text import records
from compressor.data.text.read import tuning_epochs
from compressor.errors import DataError
from compressor.progress import Silent
from tests.conftest import compress, fill
from tests.data.text.conftest import Load, numbered, table

ROWS = numbered(40)


def counted(dataset: Any) -> dict[str, int]:
    return {entry.reason: entry.count for entry in dataset.unused}


def test_a_table_is_read_with_its_columns_guessed_and_said(tmp_path: Path, load: Load) -> None:
    dataset = load(table(tmp_path / "reviews.csv", ROWS))
    assert dataset.modality == "text"
    assert dataset.name == "reviews"
    assert dataset.classes == ["bad", "good"]
    assert dataset.read(0) == "text number 0 says so"
    assert dataset.ids[:2] == ["reviews.csv:2", "reviews.csv:3"]
    assert sum(len(dataset.splits[name]) for name in SPLITS) == 40
    assert dataset.notes[0] == ("columns: text, label (by their names); --set data.options.label=… takes another")


def test_a_trained_encoder_is_tuned_for_few_epochs_and_for_more_where_texts_are_few(tmp_path: Path, load: Load) -> None:
    """Steps count, within bounds; a limit leaves fewer texts to learn from."""
    path = table(tmp_path / "x.csv", numbered(3_000))
    assert load(path).teacher_epochs == 14
    assert load(path, limit=100).teacher_epochs == 20
    assert tuning_epochs(10_003) == tuning_epochs(15_000) == 4


def test_spreadsheets_marks_line_ends_quotes_and_blank_lines_are_no_trouble(tmp_path: Path, load: Load) -> None:
    body = "".join(f"{text},{label}\r\n" for text, label in ROWS[2:])
    odd = '\ufefftext,label\r\n"two ""lines""\r\nof it, with a comma",good\r\n\r\nnext,bad\r\n'
    (tmp_path / "x.csv").write_bytes((odd + body).encode())
    dataset = load(tmp_path / "x.csv")
    assert dataset.read(0) == 'two "lines"\r\nof it, with a comma'
    assert dataset.ids[:3] == ["x.csv:2", "x.csv:5", "x.csv:6"]  # the lines that they begin in
    assert len(dataset.ids) == 40
    assert dataset.unused == []


@pytest.mark.parametrize(("name", "delimiter"), [("x.csv", ";"), ("x.csv", "\t"), ("x.tsv", "\t")])
def test_the_delimiter_is_found(tmp_path: Path, load: Load, name: str, delimiter: str) -> None:
    lines = [f"text{delimiter}label", *(f"{text}, it does{delimiter}{label}" for text, label in ROWS)]
    (tmp_path / name).write_text("\n".join(lines))
    assert load(tmp_path / name).read(3) == "text number 3 says so, it does"


def test_quotes_in_a_file_with_tabs_may_be_the_texts_own(tmp_path: Path, load: Load) -> None:
    lines = ["text\tlabel", '"Yes," he said\tgood', '"No\tbad', *(f"{text}\t{label}" for text, label in ROWS)]
    (tmp_path / "x.tsv").write_text("\n".join(lines))
    dataset = load(tmp_path / "x.tsv")
    assert [dataset.read(i) for i in (0, 1)] == ['"Yes," he said', '"No']


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_json_is_read_by_lines_and_as_a_list(tmp_path: Path, load: Load, suffix: str) -> None:
    entries = [{"id": i, "query": text, "intent": label} for i, (text, label) in enumerate(ROWS)]
    path = tmp_path / f"x{suffix}"
    path.write_text(json.dumps(entries) if suffix == ".json" else "\n".join(map(json.dumps, entries)))
    dataset = load(path)
    assert (len(dataset.ids), dataset.classes) == (40, ["bad", "good"])
    assert dataset.ids[4] == f"x{suffix}:5"


def test_json_by_split_keeps_its_splits_and_counts_the_others(tmp_path: Path, load: Load) -> None:
    parts = {"oos_test": [["what is it", "oos"]] * 3, "train": ROWS[:20], "val": ROWS[20:30], "test": ROWS[30:]}
    (tmp_path / "data_full.json").write_text(json.dumps(parts))
    dataset = load(tmp_path / "data_full.json")
    assert [len(dataset.splits[name]) for name in SPLITS] == [20, 10, 10]
    assert dataset.classes == ["bad", "good"]
    assert counted(dataset) == {"of the split 'oos_test', which is neither train, validation nor test": 3}
    assert dataset.ids[dataset.splits["test"][0]] == "data_full.json:test:1"


@pytest.mark.parametrize("names", [("train.csv", "dev.csv", "test.csv"), ("train.jsonl", "validation.csv", "test.csv")])
def test_a_folder_of_files_has_their_splits(tmp_path: Path, load: Load, names: tuple[str, ...]) -> None:
    for part, name in enumerate(names):
        rows = ROWS[part * 10 : part * 10 + 10]
        if name.endswith(".jsonl"):
            (tmp_path / name).write_text("\n".join(json.dumps(dict(text=t, label=c)) for t, c in rows))
        else:
            table(tmp_path / name, rows)
    (tmp_path / "categories.json").write_text("[]")
    dataset = load(tmp_path)
    assert [len(dataset.splits[split]) for split in SPLITS] == [10, 10, 10]
    assert {dataset.ids[i].split(":")[0] for i in dataset.splits["validation"]} == {names[1]}


def test_class_folders_of_text_files_are_read_file_by_file(tmp_path: Path, load: Load) -> None:
    for part, split in enumerate(("train", "test")):
        for i, (text, label) in enumerate(numbered(20)):
            place = tmp_path / split / label / f"{i}.txt"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(f"{text}\nagain {part}")
    (tmp_path / "train" / "good" / "notes.pdf").write_bytes(b"x")
    dataset = load(tmp_path)
    assert "text number 0 says so\nagain 0" in [dataset.read(i) for i in range(len(dataset.ids))]
    assert "train/good/0.txt" in dataset.ids
    assert len(dataset.splits["test"]) == 20
    assert counted(dataset) == {"unsupported type .pdf": 1}


def test_a_column_of_splits_is_kept(tmp_path: Path, load: Load) -> None:
    names = ["train"] * 24 + ["dev"] * 8 + ["test"] * 7 + ["spare"]
    rows = [(*row, split) for row, split in zip(ROWS, names, strict=True)]
    dataset = load(table(tmp_path / "x.csv", rows, "text,label,split"))
    assert [len(dataset.splits[name]) for name in SPLITS] == [24, 8, 7]
    assert counted(dataset) == {"of the split 'spare', which is neither train, validation nor test": 1}


def test_a_single_held_out_split_is_the_report(tmp_path: Path, load: Load) -> None:
    table(tmp_path / "train.csv", ROWS[:30])
    table(tmp_path / "dev.csv", ROWS[30:])
    dataset = load(tmp_path)
    assert {dataset.ids[i].split(":")[0] for i in dataset.splits["test"]} == {"dev.csv"}
    assert any("kept for the final report" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("header", "text", "pair", "label"),
    [
        ("id,Sentence1,Sentence2,label", 1, 2, 3),
        ("premise,hypothesis,gold_label,id", 0, 1, 2),
        ("id,question1,question2,is_duplicate", 1, 2, 3),
        ("Category,Review Text,content", 2, None, 0),
        ("utterance,intent,text", 2, None, 1),
    ],
)
def test_columns_are_guessed_by_their_names(
    tmp_path: Path, load: Load, header: str, text: int, pair: int | None, label: int
) -> None:
    rows = [[f"cell {i} of column {c}" for c in range(4)] for i in range(40)]
    rows = [[["yes", "no"][i % 2] if c == label else cell for c, cell in enumerate(row)] for i, row in enumerate(rows)]
    rows = [row[: header.count(",") + 1] for row in rows]
    dataset = load(table(tmp_path / "x.csv", rows, header))
    wanted = f"cell 5 of column {text}"
    assert dataset.read(5) == (wanted if pair is None else (wanted, f"cell 5 of column {pair}"))
    assert dataset.setup.pair == (pair is not None)
    assert dataset.classes == ["no", "yes"]


def test_columns_with_names_of_their_own_are_guessed_by_what_is_in_them(tmp_path: Path, load: Load) -> None:
    rows = [(f"{i:05d}", label, f"it is {text}") for i, (text, label) in enumerate(ROWS)]
    dataset = load(table(tmp_path / "x.csv", rows, "nr,sorte,satz"))
    assert dataset.read(0) == "it is text number 0 says so"
    assert dataset.notes[0].startswith("columns: satz, sorte (by their names and content)")


def test_what_is_said_of_columns_beats_every_guess(tmp_path: Path, load: Load) -> None:
    rows = [(text, label, f"other {text}", ["a", "b"][i % 2]) for i, (text, label) in enumerate(ROWS)]
    path = table(tmp_path / "x.csv", rows, "text,label,title,kind")
    dataset = load(path, options={"text": "title", "label": "kind"})
    assert (dataset.read(0), dataset.classes) == ("other text number 0 says so", ["a", "b"])
    assert not any(note.startswith("columns") for note in dataset.notes)
    pairs = load(path, options={"text": "title", "pair": "text", "label": "kind"})
    assert pairs.read(0) == ("other text number 0 says so", "text number 0 says so")
    with pytest.raises(DataError, match=r"no column 'titel' \(data.options.text\); did you mean 'title'"):
        load(path, options={"text": "titel"})


def test_numbers_as_labels_are_in_the_order_of_their_values(tmp_path: Path, load: Load) -> None:
    dataset = load(table(tmp_path / "x.csv", numbered(60, ("10", "9", "-1"))))
    assert dataset.classes == ["-1", "9", "10"]
    entries = [{"text": text, "label": [2.0, 10, True][i % 3]} for i, (text, _) in enumerate(numbered(60))]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, entries)))
    assert load(tmp_path / "x.jsonl").classes == ["10", "2", "true"]


def test_what_is_no_sample_is_counted_by_reason(tmp_path: Path, load: Load) -> None:
    rows = [*ROWS, ("  ", "good"), ("no label", " "), ("nul \0 here", "bad")]
    dataset = load(table(tmp_path / "x.csv", rows))
    assert counted(dataset) == {
        "without a text": 1, "without a label": 1, "with a NUL character in its text": 1,
    }  # fmt: skip
    assert len(dataset.ids) == 40
    assert dataset.unused[-1].examples == ["x.csv:42"]


def test_damaged_records_are_counted_up_to_a_limit(tmp_path: Path, load: Load) -> None:
    lines = [json.dumps({"text": text, "label": label}) for text, label in ROWS]
    (tmp_path / "x.jsonl").write_text("\n".join([*lines[:3], '{"text": "cut', *lines[3:], "7"]))
    dataset = load(tmp_path / "x.jsonl", max_unreadable=0.1)
    assert dataset.unreadable == ["x.jsonl:4", "x.jsonl:42"]
    assert counted(dataset) == {"no JSON": 1, "neither named values nor text and label": 1}
    with pytest.raises(DataError, match="2 of 42 records can't be read"):
        load(tmp_path / "x.jsonl")
    ragged = table(tmp_path / "y.csv", [*ROWS, ("one", "good", "more")])
    with pytest.raises(DataError, match=r"1 with more or fewer values than the header has columns \(y.csv:42\)"):
        load(ragged)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "", "holds no records"),
        ("x.csv", "text,label\n", "holds no records"),
        ("x.csv", "text,label\na b,same\nc d,same\n", r"2 texts of 1 class\(es\) \(same\)"),
        ("x.csv", "a,b\n1,2\n3,4\n", "which column holds a text.*It has the columns 'a', 'b'"),
        ("x.csv", "text,more\na b,c\nd e,f\ng h,i\n", "which column holds a label"),
        ("x.csv", "text,text\na,b\n", "line 1: the column 'text' is there twice"),
        ("x.csv", 'text,label\n"open,good\nb,bad\n', "line 3: .*is a quote not closed"),
        ("x.csv", "text,label\ncaf\xe9,good\n".encode("latin-1"), "no UTF-8 text .*save it as UTF-8"),
        ("x.csv", "text,label\na,good\n".encode("utf-16"), "no UTF-8 text"),
        ("x.json", '{"train": 7}', "holds no texts by split"),
        ("x.json", "[" * 100_000, "is no JSON"),
        ("x.json", '{"train": [["a", "b"]', "is no JSON"),
        ("x.csv", ",".join(f"c{i}" for i in range(100_000)) + "\n" + ",".join("7" * 100_000), "and 99,980 more"),
        ("x.csv", "text,label\n" + "a b,good\u202e\nc d,bad\n" * 9, "can't be shown"),
    ],
)
def test_what_cant_be_read_is_said_in_one_sentence(
    tmp_path: Path, load: Load, name: str, content: str | bytes, message: str
) -> None:
    before = csv.field_size_limit()
    with pytest.raises(DataError, match=f"(?s){message}") as caught:
        load(write(tmp_path / name, content))
    assert len(str(caught.value)) < 1200
    assert csv.field_size_limit() == before


def test_a_split_without_a_class_is_refused(tmp_path: Path, load: Load) -> None:
    table(tmp_path / "train.csv", numbered(30, ("a", "b", "c")))
    table(tmp_path / "test.csv", [(f"held {text}", label) for text, label in numbered(9, ("a", "b"))])
    with pytest.raises(DataError, match=r"test has no text of 1 class\(es\): c"):
        load(tmp_path)


def test_two_files_of_one_split_and_held_out_files_alone_are_refused(tmp_path: Path, load: Load) -> None:
    table(tmp_path / "test.csv", ROWS)
    table(tmp_path / "val.csv", ROWS)
    with pytest.raises(DataError, match=r"test.csv and val.csv without a train file"):
        load(tmp_path)
    table(tmp_path / "train.csv", ROWS)
    table(tmp_path / "training.tsv", ROWS)
    with pytest.raises(DataError, match=r"train.csv and training.tsv .* both name the train split"):
        load(tmp_path)


def test_files_too_large_for_memory_are_refused_unread(
    tmp_path: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "x.csv").open("wb") as file:
        file.truncate(3_000_000_000)  # no byte of it is written
    with pytest.raises(DataError, match=r"x.csv: 3.0 GB of texts.* and 2 GB are the most"):
        load(tmp_path / "x.csv")
    monkeypatch.setattr(records, "LARGEST_JSON", 10)
    with pytest.raises(DataError, match="write it as "):
        load(write(tmp_path / "x.json", json.dumps(ROWS)))


def test_a_long_field_is_read(tmp_path: Path, load: Load) -> None:
    dataset = load(table(tmp_path / "x.csv", [("word " * 60_000, "good"), *ROWS]))
    assert len(dataset.read(0)) == 300_000


@pytest.mark.parametrize("given", [{"max_length": 3}, {"mask": 0.95}, {"mask": "much"}, {"txt": "a"}])
def test_options_have_both_ends_and_known_names(tmp_path: Path, load: Load, given: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=rf"data.options.{next(iter(given))}: .*options of texts: text, pair"):
        load(table(tmp_path / "x.csv", ROWS), options=given)


def test_settings_are_kept_as_they_were_given(tmp_path: Path, load: Load) -> None:
    from compressor.data.kind import kind_of

    given = {"max_length": 64, "mask": 0.1}
    dataset = load(table(tmp_path / "x.csv", ROWS), options=given)
    assert (dataset.setup.max_length, dataset.setup.mask, dataset.setup.pair) == (64, 0.1, False)
    settled = kind_of("text").settled(dataset)
    again = load(tmp_path / "x.csv", **settled)
    assert again.setup == dataset.setup
    assert again.fingerprint == dataset.fingerprint


def test_a_changed_text_or_label_is_another_fingerprint(tmp_path: Path, load: Load) -> None:
    first = load(table(tmp_path / "x.csv", ROWS)).content
    other = load(table(tmp_path / "x.csv", [("another text", "good"), *ROWS[1:]])).content
    label = load(table(tmp_path / "x.csv", [(ROWS[0][0], "bad"), *ROWS[1:]])).content
    assert len({first, other, label}) == 3


def test_images_are_claimed_as_ever(tmp_path: Path, photos: Path) -> None:
    assert modality_of("digits") == "image"
    assert modality_of(str(photos)) == "image"
    table(photos / "train.csv", ROWS)  # a list of files, say
    (photos / "red" / "about.txt").write_text("red")
    assert modality_of(str(photos)) == "image"
    fill(tmp_path / "split" / "train")
    (tmp_path / "split" / "train" / "red" / "about.txt").write_text("red")
    table(tmp_path / "split" / "metadata.csv", ROWS)
    assert modality_of(str(tmp_path / "split")) == "image"
    (tmp_path / "empty").mkdir()
    assert modality_of(str(tmp_path / "empty")) == "image"
    with pytest.raises(DataError, match=r"(?s)does not exist.*`digits`, a folder .* images .* texts \(a .csv"):
        load_dataset(DataConfig(source=str(tmp_path / "nowhere.csv")))


def test_the_same_text_in_two_splits_stays_in_the_report_alone(tmp_path: Path, load: Load) -> None:
    table(tmp_path / "train.csv", [*ROWS[:20], ("HELLO  wörld", "good"), ("twice here", "good"), ("twice here", "bad")])
    table(tmp_path / "val.csv", ROWS[20:30])
    table(tmp_path / "test.csv", [*ROWS[30:], ("hello wo\u0308rld", "good")])
    dataset = load(tmp_path)
    assert counted(dataset) == {"repeated from test, taken out of train": 1}
    assert any("labelled as two classes" in note for note in dataset.notes)
    assert "HELLO  wörld" not in [dataset.read(int(i)) for i in dataset.splits["train"]]


def test_the_doctor_tells_lengths_and_repeats(tmp_path: Path) -> None:
    rows = [*ROWS, ("a " * 300, "bad"), (ROWS[0][0], "good")]
    path = table(tmp_path / "x.csv", rows)
    found = compressor.doctor(data=path, progress=Silent())
    assert found.data is not None
    assert found.data.words == [5, 300, 300]
    assert found.data.problems == []
    assert any("show what another one of their split does" in note or "repeated" in note for note in told(found.data))
    shown = " ".join(compress("doctor", "--data", path).output.split())
    assert "x: 42 samples in 2 classes, 5 words (median), 99 % have at most 300, the longest 300" in shown


def told(report: DataReport) -> list[str]:
    return [*report.notes, *(entry.reason for entry in report.unused)]
