"""The page in a real browser says what `predict` says, to nobody else, and shows well on a phone.

Needs playwright, Chromium and onnxruntime-web in the person's own cache (`compress try --fetch`) or where `$ONNXRUNTIME_WEB`
says; skipped where one of them is missing.
"""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import compressor
from compressor.artifact import session
from compressor.data.config import DataConfig
from compressor.data.images.digits import read_digits
from compressor.errors import CompressorError
from compressor.web import assets, page, server
from tests.conftest import paint
from tests.web.conftest import pixels, texts

pytestmark = pytest.mark.slow

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@dataclass(frozen=True)
class Browser:
    """A tab, and what was seen of it."""

    tab: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def shown(self) -> list[tuple[str, float]]:
        """The newest card's labels with their probabilities."""
        bars = self.tab.locator("#answers > li").first.locator(".bars li")
        found = bars.evaluate_all("items => items.map(i => [i.children[1].textContent, i.querySelector('data').value])")
        return [(label, float(value)) for label, value in found]

    def give(self, path: Path, cards: int) -> list[tuple[str, float]]:
        """What it says of a file, which is to become so manieth card."""
        self.tab.set_input_files("#file", str(path))
        self.tab.locator(f"#answers > li:nth-last-child({cards}) .bars").wait_for(timeout=20_000)
        return self.shown()


@pytest.fixture(scope="module")
def runtime() -> dict[str, Path]:
    """The real onnxruntime-web."""
    kept = Path.home() / ".cache" / "compressor" / "web" / f"{assets.PACKAGE}-{assets.VERSION}"
    try:
        return assets.find(Path(os.environ.get("ONNXRUNTIME_WEB", kept)))
    except CompressorError as error:
        pytest.skip(str(error).splitlines()[0])


@contextmanager
def opened(made: page.Page) -> Iterator[Browser]:
    """A page in a browser, on a wide screen; at the end nobody complained, and nobody else was asked for anything."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with server.PageServer(made) as served, playwright.sync_playwright() as driver:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = chromium.new_page(viewport={"width": 1440, "height": 900})
        found = Browser(tab)
        tab.on("console", lambda m: found.complaints.append(m.text) if m.type == "error" else None)
        tab.on("pageerror", lambda error: found.complaints.append(str(error)))
        tab.on("request", lambda request: found.requests.append(request.url))
        tab.goto(served.url)
        tab.locator("body[data-ready=wasm]").wait_for(timeout=60_000)
        yield found
        assert not found.complaints
        assert {url for url in found.requests if not url.removeprefix("blob:").startswith(served.url)} == set()
        chromium.close()
        served.shutdown()


@pytest.fixture
def browser(run: Path, runtime: dict[str, Path]) -> Iterator[Browser]:
    """The page of a run, without its teacher."""
    made = page.build("digits", session.load(run / "student.onnx"), runtime=runtime, report=run / "report.html")
    with opened(made) as found:
        yield found


def pictures(folder: Path) -> list[Path]:
    """Twenty digits, and images of other shapes and kinds."""
    folder.mkdir()
    digits = read_digits(DataConfig(), compressor.Silent())
    for number in range(20):
        digits.read(number).save(folder / f"digit-{number:02d}.png")
    rng = np.random.default_rng(0)
    for number, (size, bands) in enumerate([((640, 200), 3), ((120, 700), 3), ((90, 90), 4), ((300, 310), 1)]):
        small = rng.integers(0, 256, (7, 5, bands), np.uint8)
        image = Image.fromarray(small[..., 0] if bands == 1 else small)
        image.resize(size, Image.Resampling.BICUBIC).save(folder / f"other-{number}.png")
    return sorted(folder.iterdir())


def test_the_page_gives_predicts_labels_and_probabilities(browser: Browser, run: Path, tmp_path: Path) -> None:
    files = pictures(tmp_path / "png")
    expected = compressor.predict(run / "student.onnx", files, top=5, progress=compressor.Silent()).document
    for number, (path, answer) in enumerate(zip(files, expected, strict=True), 1):
        found = browser.give(path, number)
        assert found[0][0] == answer["classes"][0]["class"], path.name
        assert [p for _, p in found] == pytest.approx([c["probability"] for c in answer["classes"]], abs=1e-4), (
            path.name
        )
        assert dict(found).keys() == {c["class"] for c in answer["classes"]}, path.name
    rng = np.random.default_rng(1)
    same = 0
    for number in range(20):  # as cameras write them: turned, and not lossless
        other = tmp_path / f"photo-{number}{('.jpg', '.webp')[number % 2]}"
        exif = Image.Exif()
        exif[0x0112] = number // 2 % 8 + 1
        small = Image.fromarray(rng.integers(0, 256, (6, 5, 3), np.uint8))
        small.resize((300, 220), Image.Resampling.BICUBIC).save(other, quality=90, exif=exif)
        said = compressor.predict(run / "student.onnx", other, progress=compressor.Silent()).document[0]["classes"][0]
        same += browser.give(other, len(files) + number + 1)[0][0] == said["class"]
    assert same >= 19


def test_it_fits_a_phone_and_is_used_by_keyboard(browser: Browser, tmp_path: Path) -> None:
    tab = browser.tab
    browser.give(pictures(tmp_path / "png")[0], 1)
    for width in (390, 1440):
        tab.set_viewport_size({"width": width, "height": 844})
        tab.screenshot(path=tmp_path / f"{width}.png", full_page=True)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.keyboard.press("Tab")
    names = []
    for _ in range(8):
        names.append(tab.evaluate("document.activeElement.id || document.activeElement.textContent"))
        tab.keyboard.press("Tab")
    assert {"file", "clear"} <= set(names)
    assert tab.get_by_role("button", name="Clear").is_visible()
    assert "digit-00.png: " in tab.get_by_role("status").inner_text()


def test_a_file_that_is_no_image_is_said(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "note.png").write_text("no image")
    browser.tab.set_input_files("#file", str(tmp_path / "note.png"))
    browser.tab.locator("#answers .error").wait_for(timeout=20_000)
    assert "this browser can't read it" in browser.tab.inner_text("#status")


def test_pixels_go_into_graphs_that_take_them_so_many_at_a_time(runtime: dict[str, Path], tmp_path: Path) -> None:
    file = pixels(tmp_path / "m.onnx")
    for label in range(3):
        paint(tmp_path / "painted" / f"{label}.png", label, 0, size=50)
    expected = compressor.predict(file, tmp_path / "painted", top=5, progress=compressor.Silent()).document
    with opened(page.build("pixels", session.load(file), runtime=runtime)) as browser:
        for label, answer in enumerate(expected):
            found = browser.give(tmp_path / "painted" / f"{label}.png", label + 1)
            assert [name for name, _ in found] == [c["class"] for c in answer["classes"]]
            assert [p for _, p in found] == pytest.approx([c["probability"] for c in answer["classes"]], abs=1e-6)


@pytest.mark.parametrize("length", ["length", 12])
def test_texts_are_answered_as_predict_answers_them(
    runtime: dict[str, Path], tmp_path: Path, length: int | str
) -> None:
    file = texts(tmp_path / "m.onnx", length=length)
    asked = ["Where is my card?", "CARDS lost!", "where is my card " * 9, "¿dónde?"]
    expected = compressor.predict(file, asked, top=5, progress=compressor.Silent()).document
    with opened(page.build("texts", session.load(file), runtime=runtime)) as browser:
        for number, (text, answer) in enumerate(zip(asked, expected, strict=True), 1):
            browser.tab.fill("#one", text)
            browser.tab.keyboard.press("Control+Enter")
            browser.tab.locator(f"#answers > li:nth-last-child({number}) .bars").wait_for(timeout=20_000)
            found = browser.shown()
            assert [label for label, _ in found] == [c["class"] for c in answer["classes"]], text
            assert [p for _, p in found] == pytest.approx([c["probability"] for c in answer["classes"]], abs=1e-4)


def test_a_written_page_works_without_a_network_and_gets_threads(runtime: dict[str, Path], tmp_path: Path) -> None:
    """From a server that knows nothing of headers."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    page.write(
        page.build("x", session.load(texts(tmp_path / "m.onnx")), runtime=runtime, offline=True), tmp_path / "site"
    )
    handler = functools.partial(Silent, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served, playwright.sync_playwright() as driver:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = chromium.new_page()
        tab.goto(f"http://127.0.0.1:{served.server_port}/")
        tab.evaluate("navigator.serviceWorker.ready.then(() => 0)")
        assert not tab.evaluate("crossOriginIsolated")
        served.shutdown()
        served.server_close()
        tab.reload()
        tab.locator("body[data-ready=wasm]").wait_for(timeout=60_000)
        assert tab.evaluate("crossOriginIsolated")
        tab.fill("#one", "where is my card")
        tab.keyboard.press("Control+Enter")
        tab.locator("#answers .bars").wait_for(timeout=20_000)
        chromium.close()


class Silent(http.server.SimpleHTTPRequestHandler):
    """A server of files that says nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""
