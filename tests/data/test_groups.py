"""`metadata.csv`: which groups the images are in, and what is wrong with a file that can't say."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset
from compressor.data.groups import read_groups
from compressor.data.load import load_dataset
from compressor.errors import DataError
from tests.conftest import fill, paint

IDS = [f"{split}/{name}/{i}.png" for split in ("train", "test") for name in ("a", "b") for i in range(4)]
SPLITS = ("train", "test")


def read(root: Path, text: str) -> tuple[dict[str, list[str]], list[str]]:
    (root / "metadata.csv").write_text(text, encoding="utf-8")
    return read_groups(root, IDS, SPLITS)


def test_rows_are_found_from_the_data_folder_and_from_the_split_where_that_is_clear(tmp_path: Path) -> None:
    ids = [*IDS, "train/a/only.png"]
    (tmp_path / "metadata.csv").write_text("file,light\ntrain/a/0.png,night\na/only.png,night\n./test/b/1.png,day\n")
    groups, notes = read_groups(tmp_path, ids, SPLITS)
    said = {i: group for i, group in zip(ids, groups["light"], strict=True) if group != "unknown"}
    assert said == {"train/a/0.png": "night", "train/a/only.png": "night", "test/b/1.png": "day"}
    assert notes == ["14 of 17 images are not in metadata.csv: their group is 'unknown'"]


def test_files_that_are_not_there_are_counted_and_empty_cells_are_unknown(tmp_path: Path) -> None:
    rows = "".join(f"{i},{'' if n % 2 else 'day'},{n},same\n" for n, i in enumerate(IDS))
    groups, notes = read(tmp_path, "file_name,light,number,camera\n" + rows + "gone.png,day,0,same\n")
    assert groups == {"light": ["day", "unknown"] * 8}
    assert notes == [
        "metadata.csv names 1 file(s) that are not among the images",
        "metadata.csv: the column 'number' names no groups (16 distinct value(s))",
        "metadata.csv: the column 'camera' names no groups (1 distinct value(s))",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,light\ntrain/a/0.png,day\n\ntrain/a/1.png\n", "line 4: 1 values, and the header has 2 columns"),
        ("file,light\ntrain/a/0.png,day\ntrain/a/0.png,night\n", "line 3: 'train/a/0.png' is something else in line 2"),
        ("file,light\na/0.png,day\n", "line 2: 'a/0.png' may be train/a/0.png or test/a/0.png"),
        ("file,light,light\n", "line 1: the column 'light' is there twice"),
        ('file,light\ntrain/a/0.png,"day\n', "line 2: unexpected end of data"),
        ("file,light\ntrain/a/0.png,\x1b[31m\n", "line 2: .* can't be shown"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, text)


def test_a_file_of_that_name_that_is_about_something_else_is_left_alone(tmp_path: Path) -> None:
    assert read(tmp_path, "id,light\n1,day\n") == (
        {},
        ["metadata.csv is not used: it has no column 'file' (it has id, light)"],
    )
    (tmp_path / "metadata.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="can't be read as UTF-8"):
        read_groups(tmp_path, IDS, SPLITS)


def test_groups_follow_their_samples_and_change_no_fingerprint(photos: Path) -> None:
    def loaded() -> Dataset:
        return load_dataset(DataConfig(source=str(photos), max_unreadable=0.2))

    (photos / "blue" / "000.png").write_text("no image")
    before = loaded()
    assert before.groups == {}
    assert before.row_groups(before.ids[:2]) == {}
    rows = [f"{p.relative_to(photos).as_posix()},{'even' if int(p.stem) % 2 == 0 else 'odd'}\n"
            for p in sorted(photos.rglob("*.png"))]  # fmt: skip
    (photos / "metadata.csv").write_text("file,parity\n" + "".join(rows))
    after = loaded()
    assert (after.fingerprint, after.ids) == (before.fingerprint, before.ids)
    assert after.notes == before.notes
    for name, group in zip(after.ids, after.groups["parity"], strict=True):
        assert group == ("even" if int(Path(name).stem) % 2 == 0 else "odd")
    assert after.row_groups(["red/003.png", "elsewhere.png"]) == {"parity": ["odd", "unknown"]}


def test_a_split_folders_own_names_are_taken(tmp_path: Path) -> None:
    root = fill(tmp_path / "data" / "train").parent
    for label, name in enumerate(("blue", "green", "red")):
        for index in range(100, 104):
            paint(root / "val" / name / f"{index}.png", label, index)
    (root / "metadata.csv").write_text("file,light\n" + "".join(f"red/{i}.png,night\n" for i in range(100, 104)))
    dataset = load_dataset(DataConfig(source=str(root)))
    night = {i for i, group in zip(dataset.ids, dataset.groups["light"], strict=True) if group == "night"}
    assert night == {f"val/red/{i}.png" for i in range(100, 104)}
