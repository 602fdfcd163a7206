"""Plots of a run or a gallery. They need matplotlib: `pip install "facetrack[plots]"`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._errors import Error
from ._run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ._library import Library

#: Most people in a plot, those longest on screen: more names than this are too small to read.
MOST_PEOPLE = 40


def _axes(ax: Axes | None, rows: int) -> Axes:
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise Error("plots need matplotlib", 'pip install "facetrack[plots]"') from error
    # A third of an inch for each row of text.
    return pyplot.subplots(figsize=(8, 1.5 + rows / 3), layout="constrained")[1]


def timeline(source: Run | Library, ax: Axes | None = None) -> Axes:
    """Draws the appearances of each person as bars over the time of the video; in a gallery, the videos follow each
    other in the order in which they were added. Those longest on screen are at the top, and at most 40 people are shown.

    Draws into `ax`, or into a new figure; returns the axes.
    """
    is_run = isinstance(source, Run)
    key = "cluster_id" if is_run else "person_id"
    people = source.people.sort_values(["screen_secs", key], ascending=[False, True]).head(MOST_PEOPLE)
    axes, begins, at = _axes(ax, len(people)), {}, 0.0
    runs = [source] if isinstance(source, Run) else source.runs
    for run in runs:
        begins[run.video_id] = at
        if at > 0:
            axes.axvline(at, color="0.7", linewidth=0.8)
        at += float(run.video["duration_secs"])
    rows = source.appearances
    for row, (_, person) in enumerate(people.iterrows()):
        own = rows[rows[key] == person[key]]
        starts = own["start_secs"] + own["video_id"].astype(object).map(begins)
        bars = zip(starts.astype(float), (own["end_secs"] - own["start_secs"]).astype(float))
        axes.broken_barh(list(bars), (row - 0.4, 0.8), color=f"C{row % 10}")
    axes.set_yticks(range(len(people)), people["person"].tolist())
    axes.invert_yaxis()
    axes.set_xlim(0, at)
    axes.set_xlabel("time, s")
    return axes


def co_appearance(source: Run | Library, ax: Axes | None = None) -> Axes:
    """Draws the time that every two people are on screen together as a matrix. Those longest on screen are first, and
    at most 40 people are shown.

    Draws into `ax`, or into a new figure; returns the axes.
    """
    key = "cluster_id" if isinstance(source, Run) else "person_id"
    people = source.people.sort_values(["screen_secs", key], ascending=[False, True]).head(MOST_PEOPLE)
    ids = people[key].tolist()
    matrix = source.co_appearance().loc[ids, ids].to_numpy(dtype=float, copy=True)
    # The time of one person would outshine the time of two.
    np.fill_diagonal(matrix, np.nan)
    axes = _axes(ax, len(people))
    if len(people) > 1:
        picture = axes.imshow(matrix, cmap="Blues", vmin=0)
        axes.figure.colorbar(picture, ax=axes, label="time together, s")
    axes.set_xticks(range(len(people)), people["person"].tolist(), rotation=90)
    axes.set_yticks(range(len(people)), people["person"].tolist())
    return axes
