"""Helpers to draw matplotlib figures in one style. matplotlib is imported on first use."""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY, INK, GRID = "#1f5fa8", "#d1661c", "#8a8f98", "#2b2f36", "#e6e8eb"
MetricLine = tuple[int, str, dict[str, float]]  # step, split, values


@contextlib.contextmanager
def picture(width: float, height: float, **style: Any) -> Iterator["Figure"]:
    """Yield an empty figure of `width` x `height` inches, independent of the user's style, which is restored after."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    house: dict[str, Any] = {
        "font.size": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "text.parse_math": False,  # a label may hold a $
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    }
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # matplotlib's font lacks some scripts
        matplotlib.rcdefaults()
        for name, value in {**house, **style}.items():
            matplotlib.rcParams[name] = value  # type: ignore[index]
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def rule(axes: "Axes", axis: str = "y") -> None:
    """Draw light grid lines behind the data."""
    axes.grid(axis=axis, color=GRID, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def say_empty(axes: "Axes") -> None:
    """Write "nothing was recorded" into axes without data."""
    axes.text(0.5, 0.5, "nothing was recorded", color=GREY, ha="center", va="center", transform=axes.transAxes)
    axes.set_xticks([])
    axes.set_yticks([])


def percent(value: float, _: object = None) -> str:
    """Format a fraction as a percentage; the second argument is the position of an axis tick."""
    return f"{100 * value:.0f} %"


def series(metrics: Sequence[MetricLine], split: str, name: str) -> tuple[list[int], list[float]]:
    """Return the steps and values of one metric on one split, as (x, y)."""
    points = [(step, values[name]) for step, part, values in metrics if part == split and name in values]
    return [step for step, _ in points], [value for _, value in points]


def smooth(values: Sequence[float], memory: float = 0.85) -> list[float]:
    """Return the mean of a forward and a backward running mean, which does not lag behind a falling curve."""
    forward, backward = _running_mean(values, memory), _running_mean(values[::-1], memory)[::-1]
    return [(ahead + behind) / 2 for ahead, behind in zip(forward, backward, strict=True)]


def _running_mean(values: Sequence[float], memory: float) -> list[float]:
    total = weight = 0.0
    means = []
    for value in values:
        total, weight = memory * total + (1 - memory) * value, memory * weight + (1 - memory)
        means.append(total / weight)
    return means
