"""`compress models` and `compress doctor`: what there is to use."""

from __future__ import annotations

import importlib.util
from typing import Annotated, Any

import typer

from compressor.cli.console import Console, JsonOption, QuietOption, VerboseOption, edge


@edge
def models(
    pattern: Annotated[str, typer.Argument(help="Part of a name, or a pattern with *.")] = "",
    limit: Annotated[int, typer.Option(help="At most this many, measured one by one.")] = 25,
    size: Annotated[int, typer.Option(help="Input size for counting MACs, pixels.")] = 224,
    json_output: Annotated[bool, JsonOption] = False,
    quiet: Annotated[bool, QuietOption] = False,
    verbose: Annotated[bool, VerboseOption] = False,
) -> None:
    """Teachers and students that can be used, with parameters and MACs.

    Examples:

        compress models mobilenetv3

        compress models 'efficientnet_*' --limit 50

        compress models
    """
    from compressor.packages import require

    require("torch", "timm")
    from compressor.errors import UsageError
    from compressor.models import names
    from compressor.models.build import sketch

    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    found = sorted(set(names.SHORT.values())) if not pattern else names.listing(pattern)
    if not found:
        raise UsageError(f"no model matches '{pattern}'; try a family: resnet, mobilenet, efficientnet, convnext, vit")
    short: dict[str, list[str]] = {}
    for alias, name in names.SHORT.items():
        short.setdefault(name, []).append(alias)
    rows: list[dict[str, Any]] = []
    for name in found[:limit]:
        params, macs = sketch(name, size)
        rows.append({"name": name, "short": short.get(name, []), "params": params, "macs": macs})
    console.table(
        ("model", "short names", "parameters", f"MACs at {size} px"),
        [
            (r["name"], ", ".join(r["short"]), f"{r['params'] / 1e6:.2f} M",
             "–" if r["macs"] is None else f"{r['macs'] / 1e9:.2f} G")
            for r in rows
        ],
    )  # fmt: skip
    if len(found) > limit:
        console.say(f"… and {len(found) - limit} more; --limit {len(found)} shows all")
    console.document(rows)


@edge
def doctor(
    json_output: Annotated[bool, JsonOption] = False,
    quiet: Annotated[bool, QuietOption] = False,
    verbose: Annotated[bool, VerboseOption] = False,
) -> None:
    """The machine, the execution providers, and what is missing with the line that installs it.

    Examples:

        compress doctor

        compress doctor --json
    """
    from compressor.benchmarking import host
    from compressor.files import cache_dir
    from compressor.packages import missing_extras, versions

    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    found: dict[str, Any] = {"host": host.fingerprint().as_dict(), "versions": versions(), "cache": str(cache_dir())}
    missing = found["missing_extras"] = sorted(missing_extras())
    found["both_onnxruntimes"] = bool(found["versions"]["onnxruntime"] and found["versions"]["onnxruntime-gpu"])
    found["providers"] = None
    if importlib.util.find_spec("onnxruntime"):
        from compressor.artifact import providers

        found["providers"] = [providers.short(name) for name in providers.installed()]
    for key, value in found["host"].items():
        shown = ", ".join(value) if isinstance(value, list) else value
        console.result(f"{key:14} {shown if shown not in (None, '') else '–'}")
    console.result(f"{'providers':14} {', '.join(found['providers'] or ['none: onnxruntime is missing'])}")
    console.result(f"{'cache':14} {found['cache']}")
    console.result(f"{'packages':14} " + ", ".join(f"{k} {v}" for k, v in found["versions"].items() if v))
    for extra in missing:
        purpose = {"train": "distill and export", "cpu": "run ONNX files (or [gpu] with an NVIDIA GPU)"}[extra]
        console.result(f"missing        [{extra}] to {purpose}: pip install 'compressor[{extra}]'")
    if found["both_onnxruntimes"]:
        console.result("problem        onnxruntime and onnxruntime-gpu share a folder: uninstall both, install one")
    console.document(found)


cache = typer.Typer(no_args_is_help=True, help="What runs share: stored teacher outputs and decoded images.")


@cache.command("ls")
@edge
def cache_ls(
    json_output: Annotated[bool, JsonOption] = False,
    quiet: Annotated[bool, QuietOption] = False,
    verbose: Annotated[bool, VerboseOption] = False,
) -> None:
    """What is stored, how large it is and when it was last used.

    Examples:

        compress cache ls

        compress cache ls --json
    """
    from compressor.files import cache_dir
    from compressor.workflows import cache as device

    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    rows = device.stores()
    console.table(
        ("name", "kind", "what", "size", "last used"),
        [(r["name"], r["kind"], r["what"], f"{r['bytes'] / 1e6:.1f} MB", r["last_used"]) for r in rows],
    )
    console.result(f"{sum(r['bytes'] for r in rows) / 1e6:.1f} MB in {cache_dir()}")
    console.document(rows)


@cache.command("rm")
@edge
def cache_rm(
    names: Annotated[list[str] | None, typer.Argument(help="Names from `compress cache ls`.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove every store.")] = False,
    json_output: Annotated[bool, JsonOption] = False,
    quiet: Annotated[bool, QuietOption] = False,
    verbose: Annotated[bool, VerboseOption] = False,
) -> None:
    """Remove stores; the next run that needs one fills it again.

    Examples:

        compress cache rm 3f2a9c

        compress cache rm --all
    """
    from compressor.workflows import cache as device

    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    gone = device.remove_stores(names or [], everything=everything)
    console.result(f"removed {len(gone)} store(s), {sum(r['bytes'] for r in gone) / 1e6:.1f} MB")
    console.document(gone)
