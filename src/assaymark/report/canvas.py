"""The empty drawing: one look for every figure, axes that read like the tables, and SVG that is the same every time."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any, Final

from assaymark.report.series import Axis, Group
from assaymark.report.text import shorten, visible
from assaymark.result import ColumnKind, format_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis as MatplotlibAxis
    from matplotlib.figure import Figure as Drawing

__all__ = [
    "COLOURS",
    "DASHES",
    "INK",
    "MARKERS",
    "draw_references",
    "drawing",
    "finish_legend",
    "format_axis",
    "legend_name",
    "tick_text",
    "to_svg",
]

# Okabe and Ito's palette without its yellow, which does not show on white; told apart with every common colour vision.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D")
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")
DASHES: Final = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
INK: Final = "#1f2933"
WIDTH: Final = 6.9

_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "text.usetex": False,
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.unicode_minus": False,
    "axes.edgecolor": "#8592a0",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.grid.axis": "both",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#e3e8ed",
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": "#52606d",
    "ytick.color": "#52606d",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "path.sketch": None,
    "path.effects": [],
}


@contextmanager
def drawing(height: float, *, salt: str) -> Iterator[tuple[Drawing, Axes]]:
    """A figure of fixed width and `height` inches in the house's look.

    `salt` seeds the ids inside the SVG: the same figure gets the same ids every time, and two figures on one page differ.
    Scripts without a glyph in the measuring font are left to the fonts of the reader, so matplotlib's warning is no news.
    """
    import matplotlib
    from matplotlib.figure import Figure as Drawing

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        matplotlib.rcParams["svg.hashsalt"] = salt
        warnings.filterwarnings("ignore", message=r".*(Glyph|glyph|font).*")
        figure = Drawing(figsize=(WIDTH, height), layout="constrained")
        yield figure, figure.add_subplot()


def tick_text(kind: ColumnKind) -> Callable[[float, int | None], str]:
    """How a tick of an axis of this kind reads; never through matplotlib's own formatters, which write mathtext."""

    def share(value: float, _: int | None = None) -> str:
        return f"{100 * value:.6g} %"

    def count(value: float, _: int | None = None) -> str:
        return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"

    def number(value: float, _: int | None = None) -> str:
        return f"{value:.6g}" if abs(value) < 1e6 else format_number(value, "number")

    def points(value: float, _: int | None = None) -> str:
        return f"{100 * value:.6g} pp"

    return {"share": share, "points": points, "count": count}.get(kind, number)


def format_axis(axis: MatplotlibAxis, described: Axis, *, log: bool = False) -> None:
    """Title and ticks of a value axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    text = tick_text(described.kind)
    if log:
        axis.axes.set_xscale("log") if axis.axis_name == "x" else axis.axes.set_yscale("log")  # type: ignore[attr-defined]
        axis.set_major_locator(LogLocator(numticks=8))
        axis.set_minor_formatter(NullFormatter())
        # A range of less than two decades may hold no power of ten: name the steps between them then.
        low, high = axis.get_view_interval()
        if low > 0 and high / low < 100:
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    else:
        axis.set_major_locator(MaxNLocator(7, integer=described.kind == "count", steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(text))
    axis.set_label_text(described.title)


def draw_references(axes: Axes, reference: tuple[tuple[float, str], ...], *, vertical: bool) -> None:
    """Labelled lines at given values; the labels go to the legend, where they cannot collide with the data."""
    for index, (value, label) in enumerate(reference):
        draw = axes.axvline if vertical else axes.axhline
        text = shorten(visible(label), 60, counted=False)
        draw(value, color=INK, linewidth=1.1, linestyle=DASHES[1 + index % (len(DASHES) - 1)], zorder=1.5, label=text)


def legend_name(group: Group, groups: Sequence[Group]) -> str | None:
    """Name of a group in the legend; none when it is the only one. matplotlib hides names that begin with an underscore."""
    name = shorten(group.name, 40, counted=False)
    return (f" {name}" if name.startswith("_") else name) if len(groups) > 1 else None


def finish_legend(axes: Axes, *, above: float = 0.0) -> None:
    """A legend above the axes, and above what takes `above` points there, when anything is named."""
    from matplotlib.transforms import ScaledTranslation

    handles, labels = axes.get_legend_handles_labels()
    if handles:
        longest = max(len(label) for label in labels)
        columns = max(1, min(len(labels), 95 // (longest + 8)))
        raised = axes.transAxes + ScaledTranslation(0.0, above / 72, axes.figure.dpi_scale_trans)
        axes.legend(
            handles,
            labels,
            loc="lower left",
            bbox_to_anchor=(0.0, 1.01),
            bbox_transform=raised,
            borderaxespad=0.0,
            ncols=columns,
        )


def to_svg(figure: Drawing, *, title: str, description: str) -> str:
    """The drawing as one `<svg>` element: no date, no fixed size, no style rule that would reach beyond it."""
    title, description = shorten(visible(title), 200), shorten(visible(description), 800)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = buffer.getvalue()
    svg = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>", "", svg[svg.index("<svg") :], count=1, flags=re.DOTALL)
    svg = svg.replace("'DejaVu Sans'", _FONTS).replace(
        "<svg ", f'<svg role="img" aria-label="{_attribute(title, description)}" ', 1
    )
    opening, closing, rest = svg.partition(">")
    opening = re.sub(r'\s(width|height)="[^"]*"', "", opening)
    head = f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
    return f'{opening} stroke-linejoin="round"{closing}{head}{rest}'.strip()


def _attribute(title: str, description: str) -> str:
    return escape(". ".join(part.rstrip(".") for part in (title, description) if part), quote=True)
