"""Laying out and drawing what ran when."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ketline.planning.timeline import JobSpan, Panel, Window, assign_lanes, idle_spans, stack_waiting
from ketline.planning.timeline_picture import IDLE, OTHERS, PALETTE, QPU_HEIGHT, draw, save


def job(job_id: str, running: float, locked: float, released: float, workload: str = "own") -> JobSpan:
    return JobSpan(job_id, workload, running - 1, running, released + 1, locked - 0.5, ((locked, released),))


def blocks_on_qpu(figure: Figure) -> set[tuple[float, float, tuple[float, ...]]]:
    """From, seconds and colour of what stands in the QPU's row, the row's own background left out."""
    return {
        (round(patch.get_x(), 6), round(patch.get_width(), 6), patch.get_facecolor()[:3])
        for patch in figure.axes[0].patches
        if isinstance(patch, Rectangle) and patch.get_height() == QPU_HEIGHT and patch.get_zorder() > 0
    }


def test_a_lane_is_taken_again_as_soon_as_it_is_free() -> None:
    jobs = [job("a", 0, 1, 2), job("b", 1, 2, 3), job("c", 3, 4, 5), job("d", 3.5, 5, 6)]
    assert assign_lanes(jobs, 10) == {"a": 0, "b": 1, "c": 0, "d": 2}


def test_a_job_that_has_not_ended_keeps_its_lane() -> None:
    jobs = [JobSpan("a", "own", 0, 0), job("b", 5, 6, 7)]
    assert assign_lanes(jobs, 10) == {"a": 0, "b": 1}


def test_a_job_that_has_not_started_has_no_lane() -> None:
    assert assign_lanes([JobSpan("a", "own", 0)], 10) == {}


def test_waiting_rows_are_used_again() -> None:
    jobs = [JobSpan("a", "own", 0, 2), JobSpan("b", "own", 1, 4), JobSpan("c", "own", 2, 3)]
    assert stack_waiting(jobs, 10) == {"a": 0, "b": 1, "c": 0}


def test_idle_is_what_no_member_of_the_window_used() -> None:
    jobs = [job("a", 0, 1, 2, "x"), job("b", 0, 2, 4, "y"), job("c", 4, 5, 6, "stranger")]
    window = Window(frozenset({"x", "y"}), 0.5, 7.0, exclusive=True)
    assert idle_spans(window, jobs) == [(0.5, 1), (4, 7.0)]


def test_locks_outside_the_window_leave_it_idle() -> None:
    window = Window(frozenset({"own"}), 10, 12, exclusive=True)
    assert idle_spans(window, [job("a", 0, 1, 2), job("b", 12, 13, 14)]) == [(10, 12)]


def test_the_qpu_row_shows_who_held_it_when_and_what_was_idle() -> None:
    panel = Panel(
        "Session",
        "",
        (job("a", 101, 102, 104), job("o", 107, 108, 109, "stranger")),
        (Window(frozenset({"own"}), 101, 106, exclusive=True),),
        others=frozenset({"stranger"}),
    )
    assert blocks_on_qpu(draw([panel], "")) == {
        (2.0, 2.0, to_rgb(PALETTE[0])),
        (8.0, 1.0, to_rgb(OTHERS)),
        (1.0, 1.0, to_rgb("white")),
        (4.0, 2.0, to_rgb("white")),
    }


def test_idle_time_of_a_batch_is_not_marked_because_nobody_pays_for_it() -> None:
    windows = (Window(frozenset({"own"}), 101, 106, exclusive=False),)
    figure = draw([Panel("Batch", "", (job("a", 101, 102, 104),), windows)], "")
    assert blocks_on_qpu(figure) == {(2.0, 2.0, to_rgb(PALETTE[0]))}
    assert not [p for p in figure.axes[0].patches if p.get_hatch()]


def test_a_job_with_several_rounds_shows_every_lock() -> None:
    span = JobSpan("a", "own", 0, 0, 9, 1, ((1, 2), (4, 5)))
    assert {(x, width) for x, width, _ in blocks_on_qpu(draw([Panel("", "", (span,))], ""))} == {
        (1, 1),
        (4, 1),
    }


def test_svg_and_png_are_written_and_hold_the_picture(tmp_path: Path) -> None:
    panel = Panel(
        "Session",
        "why",
        (job("a", 1, 2, 4),),
        (Window(frozenset({"own"}), 1, 6, exclusive=True, label="window"),),
        summary="billed",
    )
    svg, png = save(draw([panel], "Title"), tmp_path / "new" / "timeline")
    assert ET.parse(svg).getroot().tag.endswith("svg")
    from matplotlib.image import imread

    pixels = imread(png)[..., :3]
    for colour in (PALETTE[0], IDLE):
        near = np.abs(pixels - np.array(to_rgb(colour))).max(axis=-1) < 0.2
        assert near.sum() > 50, colour


def test_the_same_spans_give_the_same_svg(tmp_path: Path) -> None:
    panel = Panel("Job mode", "", (job("a", 1, 2, 4),))
    first, _ = save(draw([panel], ""), tmp_path / "first")
    second, _ = save(draw([panel], ""), tmp_path / "second")
    assert first.read_bytes() == second.read_bytes()
