"""`compress try`: what is written, what the server answers, what is refused."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import compressor
from compressor.artifact import session
from compressor.errors import ArtifactError, MissingExtraError, UsageError
from compressor.web import assets, page, server
from tests.artifact.test_hostile import GOOD, tiny
from tests.conftest import compress
from tests.web.conftest import WORDS, texts

STATIC = Path(page.__file__).parent / "static"


def test_the_folder_has_all_that_it_names_and_names_nothing_elsewhere(finished: Path, runtime: Path) -> None:
    site = finished.parent / "site"
    done = compress("try", finished, "--write", site, "--json")
    assert done.exit_code == 0, done.output
    about = json.loads((site / "page.json").read_text())
    assert json.loads(done.stdout) == about
    there = {p.name for p in site.iterdir()}
    named = {
        about["student"]["file"],
        about["teacher"]["file"],
        about["report"],
        *(e["file"] for e in about["examples"]),
    }
    assert named | set(page.OWN) | set(assets.WASM) | set(assets.WEBGPU) | {"page.json"} == there
    for path in (site / name for name in page.OWN):
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"""https?:|wss?:|["'`(]//""", text), path.name
        for other in re.findall(r"""(?:from|import\(|src=|href=) ?["'`](?:\./)?([\w.-]+\.\w+)["'`]""", text):
            assert other in there, f"{path.name} asks for {other}"
    assert (site / "student.onnx").read_bytes() == (finished / "student.onnx").read_bytes()


def test_the_page_says_what_the_file_says(finished: Path, runtime: Path) -> None:
    found = compressor.try_out(finished, write=finished.parent / "site", progress=compressor.Silent())
    student, about = found.document.student, session.load(finished / "student.onnx").metadata
    assert student.classes == about.classes
    assert student.temperature == about.temperature == 1.5
    assert student.preprocessing == about.preprocessing.model_dump(mode="json")
    assert (student.inputs, student.batch, student.top1) == ([("image", "tensor(float)")], None, 0.5)
    assert found.document.teacher is not None
    assert found.document.teacher.name == "big"
    assert found.document.offline is not None
    assert not {"teacher.onnx", *assets.WEBGPU} & set(found.document.offline)
    assert [e.label for e in found.document.examples] == ["a", "a"]  # none from outside the run
    assert found.document.title == "run"


def test_the_policy_allows_no_inline_script_or_style_and_stands_in_the_page() -> None:
    html = (STATIC / "index.html").read_text()
    written = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert written is not None
    assert written[1] == "; ".join(f"{k} {v}" for k, v in page.POLICY.items())
    assert "unsafe-inline" not in str(server.HEADERS)
    assert "'unsafe-eval'" not in str(server.HEADERS)
    assert not re.search(r"<style|\son\w+=|\sstyle=|<script(?![^>]*\ssrc=)", html)
    scripts = "".join(p.read_text(encoding="utf-8") for p in STATIC.glob("*.mjs"))
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", scripts)


def test_a_folder_with_other_things_is_left_alone_and_an_old_page_replaced(finished: Path, runtime: Path) -> None:
    site = finished.parent / "site"
    site.mkdir()
    (site / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other things"):
        compressor.try_out(finished, write=site, progress=compressor.Silent())
    assert [p.name for p in site.iterdir()] == ["thesis.txt"]
    (site / "thesis.txt").unlink()
    compressor.try_out(finished, write=site, progress=compressor.Silent())
    alone = tiny(finished.parent / "alone.onnx")
    compressor.try_out(alone, write=site, progress=compressor.Silent())
    assert not (site / "teacher.onnx").exists()
    assert not (site / "report.html").exists()
    assert not list(site.glob("example-*"))
    assert json.loads((site / "page.json").read_text())["title"] == "alone"


def test_another_programs_page_json_makes_no_folder_ours(finished: Path, runtime: Path) -> None:
    site = finished.parent / "site"
    site.mkdir()
    (site / "page.json").write_text('{"title": "mine", "layout": "blog"}')
    (site / "index.html").write_text("mine")
    with pytest.raises(UsageError, match="holds other things"):
        compressor.try_out(finished, write=site, progress=compressor.Silent())
    assert (site / "index.html").read_text() == "mine"


def test_a_report_that_is_a_link_out_of_the_run_is_not_published(finished: Path, runtime: Path) -> None:
    (finished / "report.html").unlink()
    (finished / "report.html").symlink_to(finished.parent / "secret.png")
    site, file = finished.parent / "site", finished / "student.onnx"  # the run itself would not be opened
    found = compressor.try_out(file, write=site, progress=compressor.Silent())
    assert found.document.report is None
    assert not (site / "report.html").exists()


@pytest.fixture
def served(finished: Path, runtime: Path) -> Iterator[server.PageServer]:
    made = page.build(
        "x", session.load(finished / "student.onnx"), runtime=assets.find(), report=finished / "report.html"
    )
    with server.PageServer(made) as found:
        threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield found
        found.shutdown()


def ask(served: server.PageServer, path: str, method: str = "GET", host: str | None = None) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", served.server_port, timeout=5)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{served.server_port}")
    connection.endheaders()
    found = connection.getresponse()
    found.content = found.read()  # type: ignore[attr-defined]
    connection.close()
    return found


def test_the_server_gives_the_pages_files_with_types_and_isolation(served: server.PageServer) -> None:
    for path, kind in [
        ("/", "text/html; charset=utf-8"), ("/page.mjs", "text/javascript; charset=utf-8"),
        ("/worker.mjs?device=webgpu", "text/javascript; charset=utf-8"), ("/page.json", "application/json"),
        ("/ort-wasm-simd-threaded.wasm", "application/wasm"), ("/student.onnx", "application/octet-stream"),
    ]:  # fmt: skip
        found = ask(served, path)
        assert (found.status, found.headers["Content-Type"]) == (200, kind)
        assert found.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert found.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert found.headers["X-Content-Type-Options"] == "nosniff"
        assert found.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
        assert int(found.headers["Content-Length"]) == len(found.content) > 0  # type: ignore[attr-defined]
    head = ask(served, "/student.onnx", "HEAD")
    assert head.status == 200
    assert head.content == b""  # type: ignore[attr-defined]
    report = ask(served, "/report.html").headers["Content-Security-Policy"]
    assert "script-src" not in report
    assert report.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in report


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.png",
        "/..%2fsecret.png",
        "//etc/passwd",
        "/static/../page.json",
        "/run.json",
        "/examples/00.png",
        "/%2e%2e/",
    ],
)
def test_nothing_else_is_served(served: server.PageServer, path: str) -> None:
    assert ask(served, path).status == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "localhost.evil.example"])
def test_a_page_from_elsewhere_gets_nothing(served: server.PageServer, host: str) -> None:
    found = ask(served, "/student.onnx", host=host)
    assert found.status == 403
    assert b"ONNX" not in found.content  # type: ignore[attr-defined]
    assert ask(served, "/", "POST").status == 501
    assert ask(served, "/", host=f"localhost:{served.server_port}").status == 200


def test_ctrl_c_ends_the_server_well(finished: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(self: server.PageServer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(server.PageServer, "serve_forever", pressed)
    done = compress("try", finished, "--no-open")
    assert done.exit_code == 0, done.output
    assert re.search(r"run: http://127\.0\.0\.1:\d+/ \(Ctrl-C ends it\)", done.output)
    assert "the page is closed" in done.output


def test_a_port_that_is_taken_is_a_sentence(served: server.PageServer, finished: Path) -> None:
    with pytest.raises(UsageError, match=r"--port \d+: .*leave it out"):
        compressor.try_out(finished, port=served.server_port, open_page=False, progress=compressor.Silent())


def test_without_onnxruntime_web_the_line_that_brings_it_is_said(finished: Path, archive: Path, tmp_path: Path) -> None:
    done = compress("try", finished, "--write", tmp_path / "site")
    assert done.exit_code == 2
    assert "compress try --fetch" in done.output
    assert f"npm pack onnxruntime-web@{assets.VERSION}" in done.output
    assert not (tmp_path / "site").exists()
    with pytest.raises(MissingExtraError, match="is not in"):
        assets.find(tmp_path / "npm")
    done = compress("try", finished, "--write", tmp_path / "site", "--assets", archive)
    assert done.exit_code == 0, done.output
    assert compress("try", finished, "--write", tmp_path / "site").exit_code == 0  # it is in the cache now


def test_what_is_not_the_pinned_runtime_is_not_used(archive: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tgz"
    other.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(UsageError, match="SHA-512 differs"):
        assets.find(other)
    found = assets.find(archive)
    found["ort.wasm.min.mjs"].write_text("fetch('https://evil.example')")
    with pytest.raises(UsageError, match=r"ort\.wasm\.min\.mjs is not the one of onnxruntime-web"):
        assets.find()


def test_npm_is_asked_once_and_its_trouble_is_a_sentence(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm = tmp_path / "npm.sh"
    npm.write_text(
        f'#!/bin/sh\nif [ "$6" = "" ]; then exit 1; fi\ncp "{archive}" "$6"\necho once >> "{tmp_path}/asked"\n'
    )
    npm.chmod(0o755)
    monkeypatch.setattr("compressor.web.assets.shutil.which", lambda name: str(npm))
    assert set(assets.fetch(compressor.Silent())) == {*assets.WASM, *assets.WEBGPU}
    assets.fetch(compressor.Silent())
    assert (tmp_path / "asked").read_text() == "once\n"
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "other-cache"))
    npm.write_text("#!/bin/sh\necho 'npm error network' >&2; exit 1\n")
    with pytest.raises(compressor.CompressorError, match="npm error network"):
        assets.fetch(compressor.Silent())
    monkeypatch.chdir(tmp_path)  # a program that lies in a stranger's folder is not npm
    with pytest.raises(UsageError, match="npm, which fetches onnxruntime-web, is not installed"):
        assets.fetch(compressor.Silent())
    monkeypatch.setattr("compressor.web.assets.shutil.which", lambda name: None)
    with pytest.raises(UsageError, match="npm, which fetches onnxruntime-web, is not installed"):
        assets.fetch(compressor.Silent())


def test_models_that_the_page_can_not_show_are_a_sentence(runtime: Path, tmp_path: Path) -> None:
    foreign = tiny(tmp_path / "foreign.onnx", about="")
    with pytest.raises(ArtifactError, match="has no compressor metadata"):
        compressor.try_out(foreign, write=tmp_path / "site", progress=compressor.Silent())
    language = tiny(tmp_path / "language.onnx", about={"task": "lm"})
    with pytest.raises(ArtifactError, match="compress generate"):
        compressor.try_out(language, write=tmp_path / "site", progress=compressor.Silent())
    apart = tiny(tmp_path / "apart.onnx", outside="weights.bin")
    (tmp_path / "weights.bin").write_bytes(bytes(24))
    with pytest.raises(UsageError, match="keeps weights in other files"):
        compressor.try_out(apart, write=tmp_path / "site", progress=compressor.Silent())
    assert not (tmp_path / "site").exists()


def test_a_teacher_of_other_classes_is_left_out(finished: Path, runtime: Path) -> None:
    tiny(finished / "stages/00-teacher-big/seed0/model.onnx", about=GOOD | {"classes": ["c", "d"]})
    found = compressor.try_out(finished, write=finished.parent / "site", progress=compressor.Silent())
    assert found.document.teacher is None


def test_a_classifier_of_texts_brings_its_tokenizer(runtime: Path, tmp_path: Path) -> None:
    found = compressor.try_out(
        texts(tmp_path / "m.onnx", length=12), write=tmp_path / "site", progress=compressor.Silent()
    )
    student = found.document.student
    assert (student.modality, student.length, student.inputs) == ("text", 12, [("input_ids", "tensor(int64)")])
    assert student.preprocessing["tokenizer"]["vocabulary"].split("\n") == WORDS
    other = texts(tmp_path / "bytes.onnx", kind="bytelevel")
    with pytest.raises(UsageError, match="the page reads WordPiece alone"):
        compressor.try_out(other, write=tmp_path / "other", progress=compressor.Silent())


@pytest.mark.slow
def test_export_writes_the_page_of_what_it_exported(
    run: Path, tmp_path: Path, torchscript: None, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, tmp_path / "mine")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "a.txt").write_text("mine")
    refused = compress("export", tmp_path / "mine", "--web", tmp_path / "taken")
    assert refused.exit_code == 2
    assert "exporting" not in refused.output  # said before the work
    done = compress("export", tmp_path / "mine", "--precision", "fp16", "--web", tmp_path / "site")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "site" / "student.onnx").read_bytes() == (tmp_path / "mine" / "student.fp16.onnx").read_bytes()
    assert json.loads((tmp_path / "site" / "page.json").read_text())["teacher"]["role"] == "teacher"
