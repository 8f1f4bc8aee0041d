"""onnxruntime-web: which version, where it lies, how it is fetched; nothing is used whose digest is not the pinned one."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from compressor.errors import CompressorError, MissingExtraError, UsageError
from compressor.files import cache_dir, replacing
from compressor.progress import Progress

PACKAGE = "onnxruntime-web"
VERSION = "1.30.0"

INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Of the archive, as npm publishes it and its lock files have it."""

WASM = {
    "ort.wasm.min.mjs": "AnefQglyknuf4QnoyL8HFb54s1grWx7q6F6v2UZRr7RxVbsJeXd/k6siiXj1mlkQmpyHEnDIBJzx1Bta3J3ZCg==",
    "ort-wasm-simd-threaded.mjs": "IboQh0Pwb+2CvUlaEljlBVLJWlFfGUCxCquU6kjywgW+qj9+DZtJYSU9pueGY4A4vT2W5rQ8Zt4CNNIDL8Kf1g==",
    "ort-wasm-simd-threaded.wasm": "Gt7e1iIDIZ/PXEhM/OVleqWHVom0kEI/hs8cod0crXcV9jDGM39B23HuQnlOOgDOC3x4k5pxIgtdgzaL9up3MA==",
}
"""Name in the package's `dist/` → SHA-512, base64. What every page needs: 14 MB."""

WEBGPU = {
    "ort.webgpu.min.mjs": "/sEakMu9A2SbDy5BCcyT/nP/5PAEFLzjJhGuy8zbSeBEl4W1MiWnHxlrJaS84NlwaAnxOeqqu/4G6J/22ONTEw==",
    "ort-wasm-simd-threaded.asyncify.mjs": "YXMrHY/qLXCbjx2bMFQ8gGD97aRndcT9wEw9vlXXdNxx1Ud2kDYlWPkWFN+0t0rnX2FME08r4CTGHxRstogyyA==",
    "ort-wasm-simd-threaded.asyncify.wasm": "dzz9I0cmbBIVybKtbu6szu7jbMSzVPJ3E6Oc8PSyoIQx/4F7xVJ2iGz3ko44sLxAiyAAycPEQVtVKHKjCcRddw==",
}
"""What a browser loads instead when a person chooses its GPU: 27 MB. A folder may lack them."""

ARCHIVE = f"{PACKAGE}-{VERSION}.tgz"


def kept() -> Path:
    """The folder in the cache that the files are kept in."""
    return cache_dir() / "web" / f"{PACKAGE}-{VERSION}"


def find(given: Path | None = None) -> dict[str, Path]:
    """Name → file, each one checked.

    Args:
        given: the archive of `npm pack`, or a folder that has the files (`node_modules/onnxruntime-web` is one); what is
            in an archive is kept in the cache. None: the cache.

    Raises:
        MissingExtraError: they are not there.
        UsageError: another version, or damaged.
    """
    if given is not None and given.is_file():
        return unpack(given)
    places = [kept()] if given is None else [given, given / "dist", given / "package" / "dist"]
    folder = next((p for p in places if all((p / name).is_file() for name in WASM)), None)
    if folder is None:
        where = f"is not in {given}" if given else "is not here"
        raise MissingExtraError(
            f"the page needs {PACKAGE} {VERSION}, which {where}. Have npm fetch it once (33 MB): compress try --fetch\n"
            f"Or, where there is a network: npm pack {PACKAGE}@{VERSION}, then here: compress try --assets {ARCHIVE}"
        )
    found = {name: folder / name for name in (*WASM, *WEBGPU) if (folder / name).is_file()}
    for name, path in found.items():
        _check(path.read_bytes(), name, str(path))
    return found if found.keys() >= WEBGPU.keys() else {name: found[name] for name in WASM}


def fetch(progress: Progress) -> dict[str, Path]:
    """Has npm fetch the archive, and keeps what is needed of it in the cache; nothing is asked where it lies there.

    Raises:
        UsageError: npm is not installed.
        CompressorError: npm failed.
    """
    if all((kept() / name).is_file() for name in (*WASM, *WEBGPU)):
        return find()
    npm = shutil.which("npm")
    if npm is None or Path(npm).resolve().parent == Path.cwd():  # Windows looks in the working folder first
        raise UsageError(
            f"npm, which fetches {PACKAGE}, is not installed here. On a machine that has it: npm pack {PACKAGE}@{VERSION}\n"
            f"Then here: compress try --assets {ARCHIVE}"
        )
    progress.say(f"npm fetches {PACKAGE} {VERSION} (33 MB)")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--ignore-scripts", "--silent", "--pack-destination", folder]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode or not (Path(folder) / ARCHIVE).is_file():
            said = (done.stderr or done.stdout).strip().splitlines() or ["it gave no reason"]
            raise CompressorError(f"npm could not fetch {PACKAGE} {VERSION}: {said[-1][:300]}")
        return unpack(Path(folder) / ARCHIVE)


def unpack(archive: Path) -> dict[str, Path]:
    """Keeps what is needed of npm's archive in the cache. Raises UsageError where it is not the pinned one."""
    content = archive.read_bytes()
    if digest(content) != INTEGRITY.removeprefix("sha512-"):  # before anything opens it
        raise UsageError(
            f"{archive} is not {PACKAGE} {VERSION} as npm publishes it (its SHA-512 differs); it was not opened.\n"
            f"Fetch it again: npm pack {PACKAGE}@{VERSION}"
        )
    with tarfile.open(archive) as tar:
        for name in (*WASM, *WEBGPU):
            member = tar.extractfile(f"package/dist/{name}")
            assert member is not None, name
            with replacing(kept() / name) as temporary:
                temporary.write_bytes(member.read())
    return find()


def digest(content: bytes) -> str:
    """SHA-512, base64, as npm writes it."""
    return base64.b64encode(hashlib.sha512(content).digest()).decode()


def _check(content: bytes, name: str, shown: str) -> None:
    if digest(content) != (WASM | WEBGPU)[name]:
        raise UsageError(
            f"{shown} is not the one of {PACKAGE} {VERSION} (its SHA-512 differs); it was not used.\n"
            f"Fetch it again: npm pack {PACKAGE}@{VERSION}, then compress try --assets {ARCHIVE}"
        )
