"""Where weights come from: published ones where they can be had, or a local file; never pickle unguarded."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from compressor.artifact.preprocessing import Preprocessing
from compressor.data.views import generators_restored
from compressor.errors import CheckpointError, UsageError, first_line
from compressor.models.architecture import Architecture
from compressor.models.family import Known, StateDict, family, family_of


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model with weights in it, and how they got there."""

    model: nn.Module
    origin: str
    """`pretrained`, `teacher`, `scratch`, or the file's path."""
    head_fits: bool
    """Whether the classification head came with the weights, too."""
    notice: str | None = None


def build(architecture: Architecture) -> nn.Module:
    """The module with fresh weights; it knows its family from then on. Raises UsageError."""
    model = family(architecture.family).build(architecture)
    model.__dict__["family"] = architecture.family  # plain text: it survives copies, and joins no state
    return model


def check_input(architecture: Architecture, preprocessing: Preprocessing) -> int:
    """One forward without weights, before anything is trained for a model that can't take what it would be given.

    Returns the bytes of one sample as the model takes it.

    Raises:
        UsageError: it can't.
    """
    example = family(architecture.family).example(preprocessing, 1)
    for device in ("meta", "cpu"):  # on meta it costs no memory; what looks at its own values needs real ones
        try:
            with torch.device(device), torch.random.fork_rng(devices=[]), torch.no_grad():
                build(architecture).eval()(*(tensor.to(device) for tensor in example))
            break
        except UsageError:
            raise
        except Exception as error:
            if device == "cpu":
                raise UsageError(
                    f"{architecture.name} can't take {preprocessing.shown}: {first_line(error)}\n"
                    "Give a larger --image-size, or take another model."
                ) from error
    return sum(tensor.nbytes for tensor in example)


def initialise(
    architecture: Architecture, init: str, *, role: str, teacher: Known | None = None, classes: Sequence[str] = ()
) -> Loaded:
    """A model with the weights that `init` asks for.

    Args:
        architecture: what to build.
        init: `pretrained`, `teacher`, `scratch`, `auto` or a weights file.
        role: for messages.
        teacher: whose layers it takes where it is named by them; its weights are read for that alone.
        classes: what its classes are called: a published head is put in their order, and is fresh where it knows others.

    Raises:
        UsageError: `pretrained` or `teacher` was demanded and there are none, or the hub can't be reached.
        CheckpointError: the file can't be read or belongs to another architecture.
    """
    if init == "scratch":
        return Loaded(model=build(architecture), origin="scratch", head_fits=False)
    if init == "teacher" or (init == "auto" and architecture.copies_teacher):
        return _from_teacher(architecture, teacher, role=role)
    if init not in {"auto", "pretrained"}:
        return _from_file(architecture, Path(init).expanduser())
    try:
        with generators_restored():  # `auto` that comes to nothing draws the very weights that `scratch` does
            state = family(architecture.family).pretrained(architecture)
    except UsageError as error:
        if init == "pretrained":
            raise
        notice = f"{role} {architecture.name} starts from scratch: {error}"
        return Loaded(model=build(architecture), origin="scratch", head_fits=False, notice=notice)
    model = build(architecture)
    state, strange = _for_classes(state, head_names(model), architecture, classes)
    head_fits = load_matching(model, state, source=f"pretrained {architecture.name}")
    return Loaded(model=model, origin="pretrained", head_fits=head_fits, notice=strange)


def _for_classes(
    state: StateDict, head: set[str], architecture: Architecture, classes: Sequence[str]
) -> tuple[StateDict, str | None]:
    """The head in the order of the classes; none, and a notice, where it has as many and others. Case does not count."""
    known, wanted = ([name.casefold() for name in names] for names in (architecture.knows, classes))
    if len(known) != len(wanted) or known == wanted:
        return state, None
    if len(set(known)) < len(known) or set(known) != set(wanted):
        strange = next(
            (own for own, name in zip(architecture.knows, known, strict=True) if name not in wanted), known[0]
        )
        notice = (
            f"{architecture.name} knows as many classes as the data, but others ({strange[:60]!r} is none of the data's): "
            "its head starts fresh"
        )
        return {name: tensor for name, tensor in state.items() if name not in head}, notice
    order = [known.index(name) for name in wanted]
    return {name: tensor[order] if name in head else tensor for name, tensor in state.items()}, None


def read_state(path: Path) -> StateDict:
    """The tensors in a `.safetensors` file, or in a `.pth` one read without running any pickled code.

    Raises:
        CheckpointError: no such file, damaged, or more than tensors in it.
    """
    if not path.is_file():
        raise CheckpointError(f"no weights file {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors and is not opened: a pickle can run any code.\n"
            "Save its state_dict alone: safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')."
        ) from error
    except Exception as error:  # damaged zip, header, tensor: each library has its own
        raise CheckpointError(f"{path} can't be read as weights: {first_line(error)}") from error
    for key in ("state_dict_ema", "state_dict", "model", "model_state_dict"):
        if isinstance(stored, dict) and isinstance(stored.get(key), dict):
            stored = stored[key]
            break
    tensors = {k: v for k, v in stored.items() if isinstance(v, torch.Tensor)} if isinstance(stored, dict) else {}
    if not tensors:
        raise CheckpointError(f"{path} holds no state_dict (a mapping from names to tensors)")
    return {name.removeprefix("module."): value for name, value in tensors.items()}


def _from_teacher(architecture: Architecture, teacher: Known | None, *, role: str) -> Loaded:
    if not architecture.copies_teacher or teacher is None or teacher.model is None:
        raise UsageError(
            f"{role} {architecture.name} has no layers to take from a teacher: init: teacher is for a student that is "
            "named by its teacher"
        )
    with generators_restored():
        state = family(architecture.family).shrunk(teacher.model(), architecture)
    model = build(architecture)
    head_fits = load_matching(model, state, source="its teacher")
    return Loaded(model=model, origin="teacher", head_fits=head_fits)


def _from_file(architecture: Architecture, path: Path) -> Loaded:
    state = read_state(path)
    model = build(architecture)
    head_fits = load_matching(model, state, source=str(path))
    return Loaded(model=model, origin=str(path), head_fits=head_fits)


def head_names(model: nn.Module) -> set[str]:
    """Names of the classification head's parameters."""
    return family_of(model).head(model)


def load_matching(model: nn.Module, state: StateDict, *, source: str) -> bool:
    """Loads `state`; a head of another size is left fresh. Returns whether the head was loaded.

    Raises:
        CheckpointError: anything but the head is missing, superfluous or of another shape.
    """
    own = model.state_dict()
    head = head_names(model)
    fits = all(name in state and state[name].shape == own[name].shape for name in head)
    usable = {k: v for k, v in state.items() if k not in head or fits}
    wrong = [k for k, v in own.items() if k not in head and (k not in usable or usable[k].shape != v.shape)]
    extra = [k for k in usable if k not in own]
    if wrong or extra:
        named = ", ".join((wrong or extra)[:3])
        raise CheckpointError(
            f"{source} does not fit the architecture: {len(wrong)} tensors missing or of another shape, "
            f"{len(extra)} unknown ({named} …).\nName the architecture these weights were trained with."
        )
    model.load_state_dict(usable, strict=False)
    return fits
