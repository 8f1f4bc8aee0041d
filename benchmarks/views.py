"""What a small number of stored views costs in accuracy: `views: 1`, `5` and `all`, several seeds.

    python benchmarks/views.py --data path/to/cifar10 --save

CIFAR-10 at 32 px, resnet18 → mobilenetv3_small_050, the default objective from the target store; one teacher,
the student from the same initial weights per seed. Finished trainings are kept under --runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import Log, finish, parser
from help import spread, train

from compressor.distillation.accelerator import accelerator as chosen_device

SETTINGS = ["teacher.model=resnet18", "student.model=mobilenetv3_small_050", "data.image_size=32"]


def main() -> None:
    """Trains what is not finished yet and prints the table."""
    made = parser(__doc__)
    made.add_argument("--data", required=True, help="CIFAR-10 as an image folder")
    made.add_argument("--teacher", help="a trained teacher's folder, instead of training one")
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--limit", type=int, default=4000)
    made.add_argument("--epochs", type=int, default=10)
    made.add_argument("--views", default="1,5,all")
    made.add_argument("--runs", default="runs/views")
    arguments = made.parse_args()
    if arguments.quick:
        arguments.limit, arguments.epochs, arguments.seeds, arguments.views = 100, 2, 1, "1,all"
        arguments.runs += "-quick"
    root, log, accelerator = Path(arguments.runs), Log(), chosen_device()
    settings = [*SETTINGS, f"data.source={arguments.data}", f"data.limit={arguments.limit}",
                f"stage.epochs={arguments.epochs}", "stage.targets.precision=fp32"]  # fmt: skip
    if arguments.teacher is None:
        folder = root / "teacher"
        train(folder, [*settings, "baseline=false", "seeds=1"], "teacher", log, accelerator)
        arguments.teacher = str(next((folder / "stages").glob("00-*/seed*/")))
    found: dict[str, Any] = {}
    for views in arguments.views.split(","):
        own = [*settings, f"teacher.model={arguments.teacher}", f"seeds={arguments.seeds}", "baseline=false",
               f"stage.targets.views={views}"]  # fmt: skip
        found[views] = train(root / f"views-{views}", own, "student", log, accelerator)
        log.say(f"views {views}: test {found[views]['test']}")
    every = np.array(found["all"]["test"])
    lines = [
        (views, spread(row["validation"]), spread(row["test"]), f"{100 * (np.array(row['test']) - every).mean():+.2f}")
        for views, row in found.items()
    ]
    finish(arguments, "views", {"rows": found}, title="Stored views against every epoch its own, CIFAR-10",
           header=("views", "validation", "test", "minus `all`, points"), lines=lines,
           remarks=[f"{arguments.limit} training images, {arguments.epochs} epochs, {arguments.seeds} seeds; "
                    "± is the standard deviation over seeds."])  # fmt: skip


if __name__ == "__main__":
    main()
