"""int8 against fp32 in speed and size: onnxruntime's quantiser by default, at its best setting, and ours.

    python benchmarks/int8.py --save
    python benchmarks/int8.py --profile --models mobilenetv3_large_100
    python benchmarks/int8.py --students          # accuracy: students trained on the digits, through the ladder

timm models with random weights at 224 px, batch 1, one thread; every file in fresh processes, interleaved. Speed is
fp32's time over int8's, by process (compressor.benchmarking.compare). `default`: quantize_static as it stands.
`best setting`: U8S8, per channel, after its own pre-processing; reduce_range where the CPU has no VNNI. With
--profile also the time per node (in the JSON) and per kind of node.
"""

from __future__ import annotations

import argparse
import collections
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import Log, finish, parser

from compressor.benchmarking.cells import Cell
from compressor.benchmarking.compare import compare
from compressor.benchmarking.config import BenchmarkConfig
from compressor.benchmarking.measure import measure
from compressor.quantization.cpus import TARGETS, detect

MODELS = ["mobilenetv3_large_100", "efficientnet_b0", "resnet18"]
SIZE = 224
VARIANTS = ("fp32", "default", "best setting", "ours")


def main() -> None:
    """Exports, quantises, times and prints the table."""
    made = parser(__doc__)
    made.add_argument("--models", default=",".join(MODELS))
    made.add_argument("--processes", type=int, default=7)
    made.add_argument("--seconds", type=float, default=2.0, help="of timed calls per process")
    made.add_argument("--profile", action="store_true", help="time per node, fp32 and ours")
    made.add_argument("--students", action="store_true", help="accuracy of trained students instead of speed")
    made.add_argument("--architectures", default="mobilenetv3_small_100,resnet18", help="for --students")
    made.add_argument("--epochs", type=int, default=12, help="for --students")
    arguments = made.parse_args()
    if arguments.students:
        students(arguments)
        return
    if arguments.quick:
        arguments.models, arguments.processes, arguments.seconds = "mobilenetv3_small_050", 3, 0.3
    log = Log()
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for name in arguments.models.split(","):
            log.say(f"{name}: exporting and quantising")
            files[name] = variants(name, Path(folder))
        rows = timed(files, arguments, log)
        profiles = {}
        if arguments.profile:
            profiles = {n: {v: profile(files[n][v]) for v in ("fp32", "ours")} for n in files}
    target = detect()
    lines = [
        (
            row["model"], row["variant"], f"{row['bytes'] / 1e6:.2f} MB", f"{row['size_ratio']:.3f}",
            f"{row['p50_ms']:.2f} ms", f"{row['speedup']:.2f}×", f"{row['low']:.2f} – {row['high']:.2f}",
            f"{row['error']:.1e}", "yes" if row["noisy"] else "no",
        )
        for row in rows
    ]  # fmt: skip
    best = ceiling()
    remarks = [f"The CPU {'has' if target == 'x86-vnni' else 'does not have'} VNNI; integers chosen for {target}. "
               f"A product of two 512 × 512 matrices, the best case, is {best:.2f}× faster in integers here."]  # fmt: skip
    for name, both in profiles.items():
        remarks += [f"{name}, {variant}, ms per run and (nodes): {by_kind(nodes)}." for variant, nodes in both.items()]
    figures = {"rows": rows, "target": target, "vnni": target == "x86-vnni", "ceiling": best, "profiles": profiles,
               "size": SIZE}  # fmt: skip
    finish(arguments, "int8", figures, title="int8 against fp32: speed and size", lines=lines, remarks=remarks,
           header=("model", "variant", "file", "size / fp32", "p50", "speed / fp32", "95 %", "logits' error", "noisy"))  # fmt: skip


def variants(name: str, folder: Path) -> dict[str, Path]:
    """Variant → file, all of one random model."""
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from compressor.progress import Silent
    from compressor.quantization.calibrate import Calibration
    from compressor.quantization.quantize import operators, quantize
    from compressor.quantization.rewrites import prepare

    types = TARGETS[detect()]
    images = pictures(16)
    files = {variant: folder / f"{name}.{variant.replace(' ', '-')}.onnx" for variant in VARIANTS}
    exported(name, files["fp32"])
    quiet = _Quiet()
    with quiet:
        quantize_static(files["fp32"], files["default"], _Reader(images))
        prepared = folder / "prepared.onnx"
        quant_pre_process(files["fp32"], prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared, files["best setting"], _Reader(images), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, reduce_range=types.seven_bit_weights,
        )  # fmt: skip
        model, _ = prepare(onnx.load(files["fp32"]), lambda _: None, Silent())
        calibration = Calibration(
            model, [{"image": images[i : i + 4]} for i in range(0, len(images), 4)], operators(model)
        )
        onnx.save(quantize(model, calibration.ranges("min-max"), types), files["ours"])
    return files


def exported(name: str, path: Path) -> None:
    """A timm model with random weights that answer to their input, through the parity gate."""
    import torch

    from compressor.artifact.images import ImagePreprocessing
    from compressor.exporting.config import ExportConfig
    from compressor.exporting.export import export
    from compressor.models.checkpoint import Card
    from compressor.models.timm.build import TimmArchitecture
    from compressor.models.weights import build
    from compressor.progress import Silent
    from compressor.seeds import seed_everything

    seed_everything(0)
    architecture = TimmArchitecture(name=name, classes=1000, image_size=SIZE)
    model = build(architecture)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.running_mean, -0.3, 0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    card = Card(architecture=architecture, classes=[str(i) for i in range(1000)], preprocessing=ImagePreprocessing(size=SIZE),
                role="student", origin="scratch", dataset={"name": "noise"}, params=0, macs=0)  # fmt: skip
    inputs = {"pixels": np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8)}
    export(model, card, path, precision="fp32", config=ExportConfig(), inputs=inputs, recipe=None, progress=Silent())


def pictures(count: int) -> Any:
    """(count, 3, 224, 224) float32: smooth random images, normalised."""
    rng = np.random.default_rng(1)
    coarse = rng.standard_normal((count, 3, 14, 14), dtype=np.float32)
    return coarse.repeat(16, axis=2).repeat(16, axis=3) + 0.2 * rng.standard_normal(
        (count, 3, SIZE, SIZE), dtype=np.float32
    )


class _Reader:
    """onnxruntime's reader of calibration data: one image at a time."""

    def __init__(self, images: Any) -> None:
        self.images = iter(images)

    def get_next(self) -> dict[str, Any] | None:
        image = next(self.images, None)
        return None if image is None else {"image": image[None]}


class _Quiet:
    """The quantiser prints and logs what it does."""

    def __enter__(self) -> None:
        import contextlib
        import io
        import logging

        logging.disable(logging.WARNING)
        self.away = contextlib.redirect_stdout(io.StringIO())
        self.away.__enter__()

    def __exit__(self, *error: Any) -> None:
        import logging

        self.away.__exit__(*error)
        logging.disable(logging.NOTSET)


def timed(files: dict[str, dict[str, Path]], arguments: argparse.Namespace, log: Any) -> list[dict[str, Any]]:
    """One row per model and variant; the variants of a model take turns."""
    config = BenchmarkConfig(
        processes=arguments.processes, max_processes=arguments.processes, samples=10_000, warmup_seconds=0.3,
        min_seconds=arguments.seconds, max_seconds=arguments.seconds,
    )  # fmt: skip
    rows = []
    for name, of in files.items():
        cells = [
            Cell(label=f"{name} {variant}", file=path, provider="cpu", batch=1, threads=1)
            for variant, path in of.items()
        ]
        log.say(f"{name}: timing {len(cells)} files × {arguments.processes} processes")
        measured = {row.file: row for row in measure(cells, config, log)}
        float_row = measured[f"{name} fp32"]
        expected = answer(of["fp32"])
        for variant, path in of.items():
            row = measured[f"{name} {variant}"]
            ratio = compare(row.raw_ms, float_row.raw_ms)
            given = answer(path)
            rows.append({
                "model": name, "variant": variant, "bytes": path.stat().st_size,
                "size_ratio": path.stat().st_size / of["fp32"].stat().st_size,
                "p50_ms": row.p50_ms, "process_p50_ms": row.process_p50_ms,
                "speedup": ratio.value, "low": ratio.low, "high": ratio.high,
                "error": float(np.square(given - expected).mean() / np.square(expected).mean()),
                "peak_rss_mb": row.peak_rss_mb, "noisy": row.noisy,
            })  # fmt: skip
    return rows


def answer(path: Path) -> Any:
    """Logits for a few pictures, without the mean of each."""
    from compressor.artifact.session import load

    logits = load(path).run((pictures(4),))
    return logits - logits.mean(axis=1, keepdims=True)


def profile(path: Path, runs: int = 60) -> list[dict[str, Any]]:
    """Every node as onnxruntime's own profiler sees it: `node`, `kind`, `ms` (median), `weight` (its shape).

    Convolutions count as 1x1, depthwise or kxk: integers bring each a different gain.
    """
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        image = {session.get_inputs()[0].name: pictures(1)}
        for _ in range(runs):
            session.run(None, image)
        events = json.loads(Path(session.end_profiling()).read_text())
        graph = onnx.load(Path(folder) / "optimized.onnx").graph
    dims = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    weights = {node.name: next((dims[i] for i in node.input if len(dims.get(i, ())) == 4), None) for node in graph.node}
    spent: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["name"].removesuffix("_kernel_time")].append(event)
    nodes = []
    for name, seen in spent.items():
        kind = seen[0]["args"]["op_name"]
        if kind.endswith("Conv") and (weight := weights.get(name)):
            kind += " 1x1" if weight[2] == 1 else " depthwise" if weight[1] == 1 else " kxk"
        ms = float(np.median([event["dur"] for event in seen])) / 1e3
        nodes.append({"node": name, "kind": kind, "ms": ms, "weight": weights.get(name)})
    return nodes


def by_kind(nodes: list[dict[str, Any]]) -> str:
    """`Conv 1x1 5.21 ms (41); Conv depthwise 1.15 ms (15); …`."""
    kinds = {node["kind"] for node in nodes}
    total = {k: sum(node["ms"] for node in nodes if node["kind"] == k) for k in kinds}
    count = collections.Counter(node["kind"] for node in nodes)
    ranked = sorted(total.items(), key=lambda item: -item[1])
    return "; ".join(f"{kind} {ms:.2f} ms ({count[kind]})" for kind, ms in ranked)


def ceiling(side: int = 512, rounds: int = 7) -> float:
    """What integers bring at best: a square product's time in float over its time in integers, one thread, median."""
    import time

    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime import InferenceSession, SessionOptions

    rng = np.random.default_rng(0)
    weight = rng.standard_normal((side, side), dtype=np.float32)
    constants = {"b": weight, "qb": rng.integers(-64, 64, (side, side)).astype(np.int8), "scale": np.float32(0.05),
                 "zero": np.uint8(128), "qzero": np.int8(0)}  # fmt: skip
    products = {
        TensorProto.FLOAT: ("MatMul", ["a", "b"], weight),
        TensorProto.UINT8: ("QLinearMatMul", ["a", "scale", "zero", "qb", "scale", "qzero", "scale", "zero"],
                            rng.integers(0, 255, (side, side)).astype(np.uint8)),
    }  # fmt: skip
    runs = []
    for kind, (operator, inputs, value) in products.items():
        ends = [helper.make_tensor_value_info(name, kind, [side, side]) for name in ("a", "c")]
        tensors = [
            numpy_helper.from_array(np.asarray(constants[i]), i) for i in dict.fromkeys(inputs) if i in constants
        ]
        graph = helper.make_graph([helper.make_node(operator, inputs, ["c"])], "product", ends[:1], ends[1:], tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        options = SessionOptions()
        options.intra_op_num_threads = 1
        session = InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        runs.append((session, {"a": value}))
    ratios = []
    for _ in range(rounds):
        spent = []
        for session, feed in runs:
            begun = time.perf_counter()
            for _ in range(100):
                session.run(None, feed)
            spent.append(time.perf_counter() - begun)
        ratios.append(spent[0] / spent[1])
    return float(np.median(ratios))


def students(arguments: argparse.Namespace) -> None:
    """Trains students on the digits and sends each up the ladder: drop on validation and on test, or a refusal."""
    from compressor import runfolder
    from compressor.recipe import load
    from compressor.workflows import export as shipping
    from compressor.workflows import plan as planning
    from compressor.workflows.distill import carry_out

    names = arguments.architectures.split(",")
    if arguments.quick:
        names, arguments.epochs = ["mobilenetv3_small_050"], 2
    log, rows = Log(), []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            recipe = load(None, {"teacher.model": "test_resnet", "student.model": name, "baseline": False,
                                 "teacher.epochs": 6, "stage.epochs": arguments.epochs,
                                 "benchmark.processes": 1, "benchmark.samples": 10})  # fmt: skip
            run = runfolder.create(name, Path(folder))
            carry_out(planning.make_plan(recipe, log), run, log)
            for drop in (0.5, 0.0):
                fp32, int8 = shipping.export(
                    run.path, precision="fp32,int8", max_drop=drop, allow_slower=True, progress=log
                ).document
                climbed = int8.int8
                assert climbed is not None
                rows.append({
                    "student": name, "max_drop": drop, "kept": climbed.kept, "fp32_test": fp32.top1,
                    "int8_test": int8.top1, "validation_drop": min(rung.drop for rung in climbed.rungs),
                    "rungs": [rung.as_dict() for rung in climbed.rungs],
                    "size_ratio": int8.bytes / fp32.bytes if int8.bytes and fp32.bytes else None,
                })  # fmt: skip
    lines = [
        (
            row["student"], f"{row['max_drop']:g}", row["kept"] or "refused", f"{row['fp32_test']:.4f}",
            "–" if row["int8_test"] is None else f"{row['int8_test']:.4f}",
            "–" if row["int8_test"] is None else f"{100 * (row['fp32_test'] - row['int8_test']):+.2f}",
            "–" if row["size_ratio"] is None else f"{row['size_ratio']:.3f}",
        )
        for row in rows
    ]  # fmt: skip
    finish(arguments, "int8-students", {"rows": rows}, title="int8 on trained students (digits)", lines=lines,
           header=("student", "--max-drop", "kept", "fp32 test", "int8 test", "points lost on test", "size / fp32"))  # fmt: skip


if __name__ == "__main__":
    main()
