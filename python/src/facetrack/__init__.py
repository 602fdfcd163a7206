"""Reads the runs and galleries of facetrack as pandas data frames.

>>> import facetrack
>>> run = facetrack.read("runs/film")
>>> run.people.sort_values("screen_secs", ascending=False)
>>> run.similar("Ida")
>>> library = facetrack.read("runs/library")
>>> library.appearances.groupby("person").video_id.nunique()

The package reads Parquet tables and does not start the program. `facetrack.read` returns a `Run` or a `Library`.
Every error is an `Error`, whose text says what is wrong and what to do.
"""

from __future__ import annotations

import os
from pathlib import Path

from ._errors import Error
from ._library import Library
from ._run import Run

__all__ = ["Error", "Library", "Run", "read"]
__version__ = "0.1.0"


def read(path: str | os.PathLike[str], encryption_key: str | os.PathLike[str] | None = None) -> Run | Library:
    """Opens a run directory or the directory of a gallery. Tables are read when they are first used.

    `encryption_key` is the path of the key file of an encrypted run or gallery; without it, the environment variable
    `FACETRACK_ENCRYPTION_KEY_FILE` names the file.

    Raises `Error` when there is neither a run nor a gallery at `path`, and when it does not have this key.
    """
    folder = Path(path)
    if Library.is_at(folder):
        return Library(folder, encryption_key)
    return Run(folder, encryption_key)
