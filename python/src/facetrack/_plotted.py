"""What can be drawn of runs and galleries."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ._library import Library
    from ._run import Run


class Plotted:
    """A run or a gallery with plots. matplotlib is imported when a plot is drawn."""

    def plot_timeline(self, ax: Axes | None = None) -> Axes:
        """Draws when each person of a run is on screen, or how long each person of a gallery is on screen in each video;
        needs matplotlib. See `facetrack.plots.timeline`."""
        from . import plots

        return plots.timeline(cast("Run | Library", self), ax)

    def plot_co_appearance(self, ax: Axes | None = None) -> Axes:
        """Draws how long every two people are on screen together; needs matplotlib. See
        `facetrack.plots.co_appearance`."""
        from . import plots

        return plots.co_appearance(cast("Run | Library", self), ax)
