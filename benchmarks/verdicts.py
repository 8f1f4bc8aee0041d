"""Are the live verdicts right? The same file under two names must be `same`, a graph with extra nodes `slower`.

    python benchmarks/verdicts.py --save

ResNet-18 with random weights; the heavier graph has two more 3 × 3 convolutions (about 11 % of its MACs). Each repeat is
one full `compress benchmark` of the three files.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import QUICK, Log, benchmark, finish, parser

from compressor.workflows.benchmark import artifacts

NEEDED = 0.9
EXTRA = 2


def heavier(path: Path, target: Path) -> None:
    """Writes the graph with `EXTRA` more copies of a convolution that keeps its input's shape, one after another."""
    import onnx

    model = onnx.load(path)
    shapes = {t.name: list(t.dims) for t in model.graph.initializer}
    nodes = list(model.graph.node)
    index, node = next(
        (i, n) for i, n in enumerate(nodes)
        if n.op_type == "Conv" and (s := shapes[n.input[1]])[0] == s[1] and s[2] == 3
        and next(a.ints for a in n.attribute if a.name == "strides")[0] == 1
    )  # fmt: skip
    first, last = f"{node.output[0]}_before", node.output[0]
    names = [first, *(f"{first}_{k}" for k in range(1, EXTRA)), last]
    node.output[0] = first
    copies = []
    for k in range(EXTRA):
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = f"{node.name}_again_{k}"
        copy.input[0], copy.output[0] = names[k], names[k + 1]
        copies.append(copy)
    del model.graph.node[:]
    model.graph.node.extend([*nodes[: index + 1], *copies, *nodes[index + 1 :]])
    onnx.checker.check_model(model)
    onnx.save(model, target)


def repeat(files: list[Path], options: list[str]) -> dict[str, Any]:
    """One benchmark of all files: per file the ratio to the first."""
    rows, seconds = benchmark(files, *options)
    found = {Path(row["file"]).stem: row["ratio"] | {"processes": row["processes"]} for row in rows[1:]}
    return {**found, "noisy": any(row["noisy"] for row in rows), "seconds": seconds}


def main() -> None:
    """Measures all repeats and prints the table."""
    made = parser(__doc__)
    made.add_argument("--repeats", type=int, default=10)
    made.add_argument("--size", type=int, default=96)
    arguments = made.parse_args()
    options: list[str] = []
    if arguments.quick:
        arguments.repeats, arguments.size, options = 1, 64, QUICK
    log = Log()
    (source,) = artifacts(["resnet18"], arguments.size, log)[0].values()
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{name}.onnx" for name in ("first", "again", "heavier")]
        shutil.copy(source, files[0])
        shutil.copy(source, files[1])
        heavier(source, files[2])
        repeats = []
        for k in range(arguments.repeats):
            repeats.append(repeat(files, options))
            said = ", ".join(f"{name} {text(repeats[-1][name])}" for name in ("again", "heavier"))
            log.say(f"{k + 1}/{arguments.repeats}: {said}")
    same = sum(r["again"]["verdict"] == "same" for r in repeats)
    slower = sum(r["heavier"]["verdict"] == "slower" for r in repeats)
    wrong = sum(r["again"]["verdict"] in ("faster", "slower") or r["heavier"]["verdict"] in ("faster", "same")
                for r in repeats)  # fmt: skip
    enough = NEEDED * len(repeats)
    passed = same >= enough and slower >= enough and wrong == 0
    lines = [
        (str(k + 1), text(r["again"]), text(r["heavier"]),
         f"{r['again']['processes']} and {r['heavier']['processes']}", "yes" if r["noisy"] else "no",
         f"{r['seconds']:.0f} s")
        for k, r in enumerate(repeats)
    ]  # fmt: skip
    finish(arguments, "verdicts", {"repeats": repeats, "same": same, "slower": slower, "wrong": wrong, "passed": passed},
           title="Live verdicts", header=("repeat", "the same file", "two convolutions more", "processes", "noisy", "time"),
           lines=lines, remarks=[f"The same file: `same` in {same} of {len(repeats)}; the heavier graph: `slower` in "
                                 f"{slower} of {len(repeats)}; wrong verdicts: {wrong}. "
                                 f"{'Passed' if passed else 'FAILED'}: ≥ 9 of 10 each, none wrong."])  # fmt: skip


def text(ratio: dict[str, Any]) -> str:
    """`1.001 (0.990 … 1.012) same`."""
    return f"{ratio['value']:.3f} ({ratio['low']:.3f} … {ratio['high']:.3f}) {ratio['verdict']}"


if __name__ == "__main__":
    main()
