"""Checks every term, value and gradient, against vectors from the papers' reference implementations.

    python benchmarks/golden.py VECTORS.npz [--json]

The file holds inputs under `in/` and, per name, `out/<name>/value` and `out/<name>/grad` (with respect to
the student's tensor), in float64. Prints the largest error per name; exits 1 above 1e-8, or for a name
that no term answers to.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from compressor.objectives import features, logits

LIMIT = 1e-8

Case = tuple[str, Callable[[Tensor, dict[str, Tensor]], Tensor]]
"""The student's input, and the loss as a function of it and of all inputs."""


def case(name: str) -> Case | None:
    """What `name` stands for; None for a name that is not known."""
    number = r"(\d+(?:\.\d+)?)"
    if m := re.fullmatch(rf"kd_T{number}", name):
        t = float(m[1])
        return "student_logits", lambda s, i: logits.kd(s, i["teacher_logits"], temperature=t)
    if m := re.fullmatch(rf"kd_standardized_T{number}", name):
        t = float(m[1])
        return "student_logits", lambda s, i: logits.kd(s, i["teacher_logits"], temperature=t, standardize=True)
    if m := re.fullmatch(rf"dkd_T{number}_a{number}_b{number}", name):
        t, a, b = map(float, m.groups())
        return "student_logits", lambda s, i: logits.dkd(
            s, i["teacher_logits"], i["labels"], temperature=t, alpha=a, beta=b
        )
    if m := re.fullmatch(rf"dist_T{number}_b{number}_g{number}", name):
        t, b, g = map(float, m.groups())
        return "student_logits", lambda s, i: logits.dist(s, i["teacher_logits"], temperature=t, beta=b, gamma=g)
    if m := re.fullmatch(rf"at_p{number}_map(\d)", name):
        p, k = float(m[1]), m[2]
        return f"student_map{k}", lambda s, i: features.attention(s, i[f"teacher_map{k}"], power=p)
    if m := re.fullmatch(r"sp_map(\d)", name):
        k = m[1]
        return f"student_map{k}", lambda s, i: features.similarity(s, i[f"teacher_map{k}"])
    weights = {"rkd_distance_only": (1.0, 0.0), "rkd_angle_only": (0.0, 1.0)}
    if m := re.fullmatch(rf"rkd_d{number}_a{number}", name):
        weights[name] = (float(m[1]), float(m[2]))
    if name in weights:
        d, a = weights[name]
        return "student_embedding", lambda s, i: features.rkd(s, i["teacher_embedding"], distance=d, angle=a)
    if name == "cosine_embedding":
        return "student_embedding", lambda s, i: features.cosine(s, i["teacher_embedding"])
    return None


def errors(path: Path) -> dict[str, float]:
    """The largest absolute error of value and gradient per name; infinity for an unknown name."""
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    inputs = {name.removeprefix("in/"): torch.from_numpy(v) for name, v in arrays.items() if name.startswith("in/")}
    found = {}
    for name in sorted({key.split("/")[1] for key in arrays if key.startswith("out/")}):
        known = case(name)
        if known is None:
            found[name] = float("inf")
            continue
        key, loss = known
        student = inputs[key].clone().requires_grad_()
        value = loss(student, inputs)
        (gradient,) = torch.autograd.grad(value, student)
        wrong = np.abs(value.item() - arrays[f"out/{name}/value"]).max()
        found[name] = float(max(wrong, np.abs(gradient.numpy() - arrays[f"out/{name}/grad"]).max()))
    return found


def main() -> int:
    """Prints the errors; 0 when all are within the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    arguments = parser.parse_args()
    found = errors(arguments.vectors)
    if arguments.json:
        print(json.dumps({"limit": LIMIT, "errors": found}))
    else:
        for name, error in found.items():
            print(f"{name:24} {error:.2e}{'' if error <= LIMIT else '  TOO LARGE'}")
    return int(not found or not all(error <= LIMIT for error in found.values()))


if __name__ == "__main__":
    sys.exit(main())
