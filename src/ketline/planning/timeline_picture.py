"""The picture of a timeline: lanes and the QPU over time, coloured by workload, as SVG and PNG.

matplotlib is imported when a picture is drawn, and not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ketline.planning.timeline import Panel, Window, assign_lanes, idle_spans, stack_waiting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Distinct for readers with colour vision deficiencies too (after Okabe and Ito).
PALETTE = ("#0072B2", "#009E73", "#7B4FA3", "#D55E00", "#D9A400", "#CC5A95", "#2F6F8F")
OTHERS = "#7A7A7A"
INK = "#222222"
FAINT = "#777777"
WINDOW = "#3B4252"
IDLE = "#C0392B"
CLASSICAL, WAITING, ON_QPU = 0.38, 0.22, 1.0

WAIT_HEIGHT = 0.26
OTHERS_WAITING = 24
"""Rows for others who wait at a time; more wait where the strip's name ends in an ellipsis."""
LANE_HEIGHT = 0.74
QPU_HEIGHT = 1.25
INCHES_A_ROW = 0.27
TITLE_INCHES = 1.1
LEFT_INCHES = 0.98


def draw(panels: Sequence[Panel], title: str) -> Figure:
    """The panels one below the other, each on its own clock from its first submission on."""
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec

    colours = _colours(panels)
    painters = [_Painter(panel, colours) for panel in panels]
    heights = [INCHES_A_ROW * (painter.bottom + 0.3) for painter in painters]
    figure = Figure(figsize=(11.0, 1.3 + sum(heights) + TITLE_INCHES * len(panels)), facecolor="white")
    total = figure.get_figheight()
    grid = GridSpec(
        len(panels),
        1,
        figure=figure,
        height_ratios=heights,
        left=LEFT_INCHES / 11.0,
        right=0.985,
        top=1 - (TITLE_INCHES + 0.15) / total,
        bottom=1.0 / total,
        hspace=TITLE_INCHES * len(panels) / sum(heights),
    )
    figure.text(0.012, 1 - 0.16 / total, title, va="top", fontsize=15, fontweight="bold", color=INK)
    for n, painter in enumerate(painters):
        painter.paint(figure.add_subplot(grid[n, 0]))
    _draw_key(figure)
    return figure


def save(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Write ``stem.svg`` and ``stem.png``; the folder is made when it isn't there."""
    import matplotlib as mpl

    stem.parent.mkdir(parents=True, exist_ok=True)
    svg, png = stem.with_suffix(".svg"), stem.with_suffix(".png")
    with mpl.rc_context({"svg.hashsalt": "ketline", "hatch.linewidth": 0.6}):
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.savefig(png, format="png", dpi=120)
    return svg, png


def _colours(panels: Sequence[Panel]) -> dict[str, str]:
    """One colour for each workload in all panels; grey for other people's."""
    colours: dict[str, str] = {}
    own = 0
    for panel in panels:
        for name in panel.workloads:
            if name in colours:
                continue
            if name in panel.others:
                colours[name] = OTHERS
            else:
                colours[name] = PALETTE[own % len(PALETTE)]
                own += 1
    return colours


class _Painter:
    """Draws one panel. Rows count downwards from the waiting jobs over the lanes to the QPU."""

    axes: Axes

    def __init__(self, panel: Panel, colours: dict[str, str]) -> None:
        self.panel = panel
        self.colours = colours
        self.start, self.end = panel.start, panel.end
        own = stack_waiting([j for j in panel.jobs if j.workload not in panel.others], self.end)
        others = stack_waiting([j for j in panel.jobs if j.workload in panel.others], self.end)
        # A strip needs three thin rows, or its name doesn't fit beside it.
        self.own_waiting = max(3, 1 + max(own.values(), default=0)) if own else 0
        shown = {job_id: row for job_id, row in others.items() if row < OTHERS_WAITING}
        self.more_wait = len(shown) < len(others)
        self.all_waiting = self.own_waiting + (max(3, 1 + max(shown.values())) if shown else 0)
        self.waiting = own | {job_id: self.own_waiting + row for job_id, row in shown.items()}
        self.lanes_top = self.all_waiting * WAIT_HEIGHT + 0.85
        self.qpu_top = self.lanes_top + panel.lanes + 0.15
        self.bottom = self.qpu_top + QPU_HEIGHT

    def paint(self, axes: Axes) -> None:
        self.axes = axes
        self._frame()
        self._titles()
        for window in self.panel.windows:
            self._window(window)
        self._jobs()

    def _jobs(self) -> None:
        lanes = assign_lanes(self.panel.jobs, self.end)
        for job in self.panel.jobs:
            colour = self.colours[job.workload]
            waited_until = self.end if job.running_at is None else job.running_at
            if job.job_id in self.waiting:
                top = self.waiting[job.job_id] * WAIT_HEIGHT
                self._bar(job.created_at, waited_until, top, WAIT_HEIGHT * 0.62, colour, 0.85)
            if job.running_at is None:
                continue
            end = self.end if job.finished_at is None else job.finished_at
            first_lock = job.locks[0][0] if job.locks else end
            ready = first_lock if job.ready_at is None else min(job.ready_at, first_lock)
            top = self.lanes_top + lanes[job.job_id] + (1 - LANE_HEIGHT) / 2
            self._bar(job.running_at, ready, top, LANE_HEIGHT, colour, CLASSICAL)
            self._bar(ready, first_lock, top + LANE_HEIGHT * 0.36, LANE_HEIGHT * 0.28, colour, WAITING)
            for n, (locked, released) in enumerate(job.locks):
                following = job.locks[n + 1][0] if n + 1 < len(job.locks) else end
                self._bar(locked, released, top, LANE_HEIGHT, colour, ON_QPU)
                self._bar(locked, released, self.qpu_top, QPU_HEIGHT, colour, ON_QPU)
                self._bar(released, following, top, LANE_HEIGHT, colour, CLASSICAL)

    def _bar(self, left: float, right: float, top: float, height: float, colour: str, alpha: float) -> None:
        from matplotlib.patches import Rectangle

        width = right - left
        if width <= 0:
            return
        edge = 0.5 if width > 0.004 * (self.end - self.start) else 0.0
        self.axes.add_patch(
            Rectangle(
                (left - self.start, top), width, height,
                facecolor=colour, alpha=alpha, edgecolor="white", linewidth=edge, zorder=3,
            )
        )  # fmt: skip

    def _window(self, window: Window) -> None:
        from matplotlib.patches import Rectangle

        left, width = window.started_at - self.start, window.ended_at - window.started_at
        top = self.lanes_top - 0.1
        height = self.bottom - top
        style = "-" if window.exclusive else (0, (4, 3))
        self.axes.add_patch(
            Rectangle((left, top), width, height, facecolor=WINDOW, alpha=0.05, linewidth=0, zorder=1)
        )
        self.axes.add_patch(
            Rectangle(
                (left, top), width, height,
                fill=False, edgecolor=WINDOW, linewidth=1.4, linestyle=style, zorder=4,
            )
        )  # fmt: skip
        self.axes.annotate(
            window.label, (left + width / 2, top), xytext=(0, 2), textcoords="offset points",
            ha="center", va="bottom", fontsize=8.5, fontweight="bold", color=WINDOW, zorder=6,
        )  # fmt: skip
        if not window.exclusive:
            return
        for idle_from, idle_to in idle_spans(window, self.panel.jobs):
            self.axes.add_patch(
                Rectangle(
                    (idle_from - self.start, self.qpu_top), idle_to - idle_from, QPU_HEIGHT,
                    facecolor="white", edgecolor=IDLE, hatch="/////", linewidth=0, alpha=0.75, zorder=1.5,
                )
            )  # fmt: skip

    def _frame(self) -> None:
        axes = self.axes
        axes.set_xlim(0.0, (self.end - self.start) * 1.012)
        axes.set_ylim(self.bottom + 0.15, -0.12)
        rows = [(self.lanes_top + lane + 0.5, f"lane {lane + 1}") for lane in range(self.panel.lanes)]
        rows.append((self.qpu_top + QPU_HEIGHT / 2, "QPU"))
        if self.own_waiting:
            rows.insert(0, (self.own_waiting / 2 * WAIT_HEIGHT, "waiting"))
        if self.all_waiting > self.own_waiting:
            rows.insert(
                0,
                (
                    (self.own_waiting + self.all_waiting) / 2 * WAIT_HEIGHT,
                    "others wait …" if self.more_wait else "others wait",
                ),
            )
        axes.set_yticks([at for at, _ in rows], [name for _, name in rows], fontsize=8.5, color=INK)
        axes.get_yticklabels()[-1].set_fontweight("bold")
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=8.5, colors=FAINT, length=3)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} s")
        axes.axhspan(self.qpu_top, self.bottom, color="#EFEFEF", zorder=0)
        for lane in range(self.panel.lanes + 1):
            axes.axhline(self.lanes_top + lane, color="#E4E4E4", linewidth=0.6, zorder=0)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color("#BBBBBB")
        axes.grid(axis="x", color="#EDEDED", linewidth=0.6, zorder=0)
        axes.set_axisbelow(True)

    def _titles(self) -> None:
        """Title, summary, explanation, and the names of the workloads in their colours."""
        from matplotlib.offsetbox import AnchoredOffsetbox, HPacker, TextArea

        margin = (0.012 * 11.0 - LEFT_INCHES) * 72
        height = 42 if self.panel.explanation else 30
        faint: dict[str, Any] = {"fontsize": 9.5, "color": "#444444"}
        bold: dict[str, Any] = {"fontsize": 12.5, "fontweight": "bold", "color": INK}
        for text, x, offset, style in (
            (self.panel.title, 0, (margin, height), bold),
            (self.panel.summary, 1, (0, height), {**faint, "ha": "right", "color": INK}),
            (self.panel.explanation, 0, (margin, 25), faint),
        ):
            self.axes.annotate(
                text, (x, 1), xycoords="axes fraction", xytext=offset, textcoords="offset points",
                va="center", **style,
            )  # fmt: skip
        names = HPacker(
            children=[
                TextArea(text, textprops={"color": colour, "fontsize": 9})
                for name in self.panel.workloads
                for text, colour in (("■", self.colours[name]), (f"{name}    ", INK))
            ],
            pad=0,
            sep=3,
            align="center",
        )
        self.axes.add_artist(
            AnchoredOffsetbox(
                loc="lower left", child=names, frameon=False, borderpad=0.0, pad=0.25,
                bbox_to_anchor=(0.0, 1.0), bbox_transform=self.axes.transAxes,
            )
        )  # fmt: skip


def _draw_key(figure: Figure) -> None:
    """What the shades mean, once for all panels."""
    from matplotlib.patches import Patch

    shade = "#444444"
    dashes = (0, (4, 3))
    figure.legend(
        handles=[
            Patch(facecolor=shade, alpha=CLASSICAL, label="in a lane: preparing or finalizing (classical)"),
            Patch(facecolor=shade, alpha=WAITING, label="in a lane: ready, waiting for the QPU"),
            Patch(facecolor=shade, label="on the QPU"),
            Patch(
                facecolor="white", edgecolor=IDLE, hatch="/////", linewidth=0, label="QPU idle, but paid for"
            ),
            Patch(fill=False, edgecolor=WINDOW, linewidth=1.4, label="session window: nobody else runs"),
            Patch(fill=False, edgecolor=WINDOW, linewidth=1.4, linestyle=dashes, label="batch active"),
        ],
        loc="lower center",
        ncol=3,
        frameon=False,
        fontsize=8.5,
        handlelength=1.8,
        columnspacing=2.5,
        bbox_to_anchor=(0.5, 0.0),
    )
