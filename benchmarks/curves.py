"""Plot the loss curves of pre-training runs in one picture.

python benchmarks/curves.py docs/pretraining.png "own vocabulary, 8,192"=runs/own "Google's, 30,522"=runs/google
"""

import json
import sys
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = ("#1f6feb", "#d1571b", "#2f8f4e", "#7a4fbf")
SMOOTH = 25  # log lines that each point of a training curve is averaged over


def main() -> None:
    target, runs = Path(sys.argv[1]), [argument.split("=", 1) for argument in sys.argv[2:]]
    figure, panels = plt.subplots(1, 2, figsize=(10, 3.8), constrained_layout=True)
    for (name, folder), colour in zip(runs, COLOURS, strict=False):
        lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
        trained = [line for line in lines if line.get("split", "train") == "train"]
        held_out = [line for line in lines if line.get("split") == "held_out"]
        for panel, metric in zip(panels, ("mlm_loss", "nsp_accuracy"), strict=True):
            steps = np.array([line["step"] for line in trained])
            values = np.array([line[metric] for line in trained])
            smooth = np.convolve(values, np.full(SMOOTH, 1 / SMOOTH), mode="valid")
            panel.plot(steps[SMOOTH - 1 :], smooth, color=colour, linewidth=1, alpha=0.55)
            panel.plot(
                *zip(*((line["step"], line[metric]) for line in held_out), strict=True), "o-", color=colour, label=name
            )
    for panel, title in zip(panels, ("masked LM loss", "next sentence accuracy"), strict=True):
        panel.set_title(title, loc="left", fontsize=10)
        panel.set_xlabel("step")
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.25)
    panels[0].legend(frameon=False, title="dots: held-out documents; lines: training, smoothed", title_fontsize=8)
    figure.savefig(target, dpi=130)


if __name__ == "__main__":
    main()
