"""The model hub, stubbed: which revision is asked for, and what never leaves an error of its client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from compressor.data.images.setup import ImageSetup
from compressor.errors import UsageError
from compressor.models import hub
from compressor.models.locate import locate
from compressor.models.timm.family import Timm
from compressor.models.weights import initialise
from compressor.packages import import_timm
from tests.conftest import TINY, compress

SECRET = "hf_" + "Zz9" * 10
NAME = "hf-hub:someone/model@0123abc"


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None, str]]:
    """A hub that is there; gives what was asked of it: repository, revision and file."""
    import_timm()
    from timm.models import _hub

    asked: list[tuple[str, str | None, str]] = []

    def download(repo_id: str, filename: str, revision: str | None = None, **_: Any) -> str:
        asked.append((repo_id, revision, filename))
        raise RuntimeError(f"401 Client Error for https://user:{SECRET}@huggingface.co with Bearer {SECRET}")

    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setattr(_hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "reachable", lambda timeout=3.0: True)
    return asked


def test_a_hub_name_can_pin_a_revision(
    online: list[tuple[str, str | None, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import timm
    from safetensors.torch import save_file
    from timm.models import _hub

    model = timm.create_model("test_resnet", num_classes=3)
    (tmp_path / "config.json").write_text(json.dumps({
        "architecture": "test_resnet", "num_classes": 3, "num_features": 64,
        "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "input_size": [3, 160, 160],
                           "fixed_input_size": False, "num_classes": 3, "classifier": "fc", "first_conv": "conv1.0"},
    }))  # fmt: skip
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "model.safetensors")
    asked = online

    def download(repo_id: str, filename: str, revision: str | None = None, **_: Any) -> str:
        asked.append((repo_id, revision, filename))
        if not (tmp_path / filename).is_file():
            raise RuntimeError("404")
        return str(tmp_path / filename)

    monkeypatch.setattr(_hub, "hf_hub_download", download)
    named = locate(NAME, role="teacher").hub
    assert named == NAME
    family = Timm()
    architecture, preprocessing = family.describe(named, classes=3, setup=ImageSetup(size=64), stem="keep")
    assert preprocessing.mean == (0.5, 0.5, 0.5)
    loaded = initialise(architecture, "pretrained", role="teacher")
    assert loaded.head_fits
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in loaded.model.state_dict().items())
    assert {(repo, revision) for repo, revision, _ in asked} == {("someone/model", "0123abc")}


@pytest.mark.parametrize(
    "name", ["hf-hub:a/b@", "hf-hub:@x", "hf-hub:a/b@c@d", "hf-hub:", "hf-hub:a/../b", "hf-hub:a/b@x y"]
)
def test_a_hub_name_that_can_mean_nothing_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"hf-hub:OWNER/NAME@REVISION"):
        locate(name, role="teacher")


@pytest.mark.parametrize("verbose", [[], ["--verbose"]])
@pytest.mark.usefixtures("online")
def test_a_token_reaches_neither_screen_nor_files(verbose: list[str], workdir: Path) -> None:
    done = compress("distill", "--teacher", NAME, "--name", "x", *TINY, *verbose)
    assert done.exit_code == 2
    assert "401 Client Error for https://***@huggingface.co" in done.output
    assert SECRET not in done.output
    for path in workdir.rglob("*"):
        assert not path.is_file() or SECRET not in path.read_text(errors="replace"), path


@pytest.mark.usefixtures("online")
def test_a_token_reaches_no_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pretrained student that can't be had is trained from scratch, and its notice goes into the report."""
    import timm

    def failing(*_: Any, **options: Any) -> Any:
        raise OSError(f"403 with Bearer {SECRET}")

    architecture, _ = Timm().describe("mobilenetv3_small_050", classes=3, setup=ImageSetup(size=32), stem="keep")
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: failing() if k.get("pretrained") else create(*a, **k))
    notice = initialise(architecture, "auto", role="student").notice
    assert notice is not None
    assert "403 with Bearer ***" in notice


def test_a_run_writes_no_token_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from compressor.runfolder import RunFolder

    monkeypatch.setenv("HF_TOKEN", SECRET)
    run = RunFolder(tmp_path)
    run.update(command=f"compress distill --set x={SECRET}", error=f"failed with {SECRET}", status="failed")
    assert SECRET not in run.note.read_text()
    assert run.read().error == "failed with ***"
