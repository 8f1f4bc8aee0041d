"""What a stranger may hand over: recipes, options and documents, drawn from a seed."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

from compressor.recipe import Recipe

ODD: list[Any] = [
    0, -1, 1, 2, 3.5, -0.0, 1e308, -1e308, float("nan"), float("inf"), float("-inf"), 10**18, -(10**30), 2**63, 10**400,
    True, False, None, "", " ", "auto", "none", "nan", "1e999", "-1", "0x10", "\0", "\x1b[2J", "../../etc/passwd", "/dev/zero",
    "~", "%s%n{}", "ä" * 300, "a" * 100_000, "‮🐶", [], [[]], [None], [0] * 1000, ["a"] * 100, [[0, 0]], {}, {"": {}}, {"a": 1},
    {"weight": -1}, {"kd": {}}, {"taps": [[9, 9]]},
]  # fmt: skip
"""Values that somebody's code has tripped over."""

BROKEN = [
    "", "{}", "[]", "null", "0", '""', "{", "[1,", '{"a":', "\x00", "\ufeff{}", "nan", "NaN", "[" * 20_000,
    '{"a":' * 20_000, '{"schema_version": 1e400}', "9" * 10_000, '{"created": "x", "created": []}', "é" * 100, "\n" * 1000,
]  # fmt: skip
"""Texts that are no document."""


def keys(document: Any, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every key of nested mappings."""
    if not isinstance(document, dict):
        return []
    own = [(*prefix, name) for name in document]
    return own + [path for name, value in document.items() for path in keys(value, (*prefix, name))]


RECIPE = keys(Recipe().model_dump() | {"overrides": {"student": {"epochs": 1, "objective": {"kd": {"weight": 1}}}}})


MILD: list[Any] = [0, 1, 2, 3, 0.5, 0.9, True, False, None, "auto", "all", "none", [1], ["resnet18"], {}, {"kd": {}}]
"""Values that some keys take."""


def settings(rng: random.Random) -> dict[str, Any]:
    """Up to four recipe keys, some of them misspelled, with odd values; now and then with ones that may be right."""
    found = {}
    if rng.random() < 0.3:
        path = rng.choice(RECIPE)
        own: Any = Recipe().model_dump()
        for key in path:
            own = own.get(key) if isinstance(own, dict) else None
        return {".".join(path): rng.choice([own, own, rng.choice(MILD)])}
    for _ in range(rng.randint(1, 4)):
        parts = list(rng.choice(RECIPE))
        if rng.random() < 0.1:
            place = rng.randrange(len(parts))
            parts[place] = rng.choice(["", "x", parts[place].upper(), parts[place] + "s", "a" * 5000, "é"])
        found[".".join(parts)] = rng.choice(ODD)
    return found


def recipe_text(rng: random.Random) -> str:
    """A recipe file: a valid one with odd values in it, which then loses or gains a few characters."""
    import yaml

    document = Recipe().model_dump(mode="json")
    if rng.random() < 0.3:
        return str(yaml.safe_dump(document))
    for _ in range(rng.randint(0, 3)):
        replaced(document, rng)
    text = yaml.safe_dump(document, allow_unicode=True)
    for _ in range(rng.choice([0, 0, 1, 5])):
        place = rng.randrange(len(text))
        text = rng.choice([
            text[:place], text[:place] + rng.choice("{}[]:,&*!|>%@`\"'#\t\n-") + text[place:], text[:place] + text[place + 9 :],
            text[:place] + "&a [*a, *a]" + text[place:], text + "\n" + text[:place], text.replace("\n", "\r"),
        ])  # fmt: skip
        text = text or "x"
    return text


def replaced(document: Any, rng: random.Random) -> None:
    """Puts an odd value somewhere into a document of mappings and lists, or takes something out of it."""
    while True:
        places = list(document) if isinstance(document, dict) else list(range(len(document)))
        if not places:
            return
        place = rng.choice(places)
        inner = document[place]
        if isinstance(inner, dict | list) and inner and rng.random() < 0.8:
            document = inner
            continue
        if rng.random() < 0.2:
            del document[place]
        else:
            document[place] = copy.deepcopy(rng.choice(ODD))
        return


def damaged(text: str, rng: random.Random) -> str:
    """A JSON document, changed in its values, cut, or replaced by what is none."""
    import json

    kind = rng.random()
    if kind < 0.2:
        return rng.choice(BROKEN)
    if kind < 0.4:
        return text[: rng.randrange(len(text))]
    document = json.loads(text)
    for _ in range(rng.randint(1, 3)):
        replaced(document, rng)
    return json.dumps(document)


Street = dict[str, list[str]]

OPTIONS: dict[str, Street] = {
    "distill": {"flags": ["--baseline", "--no-baseline", "--shift", "--no-shift"], "values": [
        "--teacher", "--student", "--data", "--recipe", "--unlabeled", "--assistants", "--epochs", "--batch-size",
        "--image-size", "--limit", "--seed", "--views", "--cache-limit", "--seeds", "--device", "--set", "--name", "--resume",
    ]},
    "tune": {"flags": [], "values": ["--teacher", "--student", "--data", "--recipe", "--assistants", "--trials", "--epochs",
                                     "--limit", "--seed", "--device", "--set", "--resume"]},
    "export": {"flags": ["--uint8-input", "--qat", "--allow-slower"], "values": [
        "--precision", "--opset", "--batch", "--max-drop", "--target", "--data",
    ]},
    "benchmark": {"flags": [], "values": ["--provider", "--batch", "--threads", "--data", "--size", "--processes",
                                          "--max-processes", "--samples", "--check-regression"]},
    "evaluate": {"flags": ["--shift"], "values": ["--data", "--split", "--provider"]},
    "predict": {"flags": [], "values": ["--top", "--provider"]},
    "models": {"flags": [], "values": ["--limit", "--size"]},
    "report": {"flags": ["--shift", "--csv"], "values": []},
    "cache": {"flags": [], "values": []},
}  # fmt: skip

WORDS = [
    "", " ", "0", "-1", "-3", "1", "1000000000000", "9" * 400, "1e9", "nan", "inf", "-inf", "0.5", "auto", "none", "all", "cpu",
    "a,b", ",", ",,,", "1,0", "resnet50,", "nowhere/", "runs/none", "/dev/null", "/dev/zero", ".", "x.onnx",
    "x.csv", "x.npz", "x.safetensors", "x.pth", "hf-hub:", "hf-hub:a/b", "\x1b[31m", "é‮", "a" * 5000, "%00", "stage.epochs=0",
    "stage.objective={}", "=", "a=", "=1", "stage=1", "overrides.x=1", "data.options={a: 1}", "int8", "fp32,fp32", "²", "--", "-",
]  # fmt: skip
"""What may stand behind an option or as an argument."""


TINY = ["--teacher", "test_resnet", "--student", "test_efficientnet", "--set", "data.limit=40"]
"""What is given first, and overruled by what comes after."""


def command(rng: random.Random) -> list[str]:
    """A command line that nobody means, and that must not start anything long."""
    name = rng.choice([n for n in OPTIONS if n != "distill"] + ["distill"] * 4)
    known = OPTIONS[name]
    line = [name] if name != "cache" else ["cache", rng.choice(["rm", "rm", "zz"])]
    for _ in range(rng.randint(1, 4)):
        if known["values"]:
            line += [rng.choice(known["values"]), rng.choice(WORDS)]
        if known["flags"] and rng.random() < 0.3:
            line.append(rng.choice(known["flags"]))
    if name in ("export", "benchmark", "evaluate", "predict", "report", "cache", "models") and rng.random() < 0.7:
        line += [rng.choice(WORDS) for _ in range(rng.randint(1, 2))]
    last = {"distill": ["--dry-run"], "tune": ["--teacher", "nobody"]}.get(name, [])
    return [*line[:1], *(TINY if last else []), *line[1:], *last]


def bombs() -> dict[str, Callable[[], str]]:
    """Recipes that are small and stand for more than there is."""
    aliases = "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 60)
    ])  # fmt: skip
    return {
        "a billion laughs": lambda: aliases,
        "itself": lambda: "stage: &s {optimizer: *s, objective: *s}",
        "merged itself": lambda: "stage: &s\n  <<: *s\n",
        "merged a lot": lambda: "a: &a {b: 1}\nstage:\n  <<: [" + "*a, " * 30_000 + "*a]",
        "deep flow": lambda: "stage: " + "{a: " * 60_000,
        "deep list": lambda: "[" * 250_000,
        "deep block": lambda: "\n".join(" " * i + "a:" for i in range(700)),
        "keys": lambda: "\n".join(f"k{i}: 1" for i in range(25_000)),
        "long": lambda: "seed: " + "1" * 50_000_000,
        "number": lambda: "seed: 0x" + "f" * 200_000,
        "base 60": lambda: "seed: 1" + ":59" * 80_000,
        "anchors": lambda: "data: [" + ", ".join(f"&a{i} x" for i in range(20_000)) + "]",
        "quotes": lambda: 'data: {source: "' + "\\x41" * 60_000 + '"}',
        "objects": lambda: "data: !!python/object/apply:subprocess.check_output [[touch, executed]]",
        "names": lambda: "data: {source: " + "a" * 250_000 + "}",
        "sizes": lambda: "data: {image_size: 1000000000}\nstage: {epochs: 1000000000000, batch_size: 1000000000}",
    }
