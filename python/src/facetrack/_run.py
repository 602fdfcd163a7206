"""A run: the tables of one video."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from . import _crypt, _tables, _vectors
from ._errors import RESTORE, Error
from ._plotted import Plotted

#: Name of the manifest.
MANIFEST = "manifest.json"
#: Version of the format of the manifest.
FORMAT = 1
#: What this package reads of a manifest.
SHAPE: dict[str, Any] = {"stages": [{"outputs": [{"file": str}]}]}


class Run(Plotted):
    """A run directory. Tables are read when they are first used, and kept in memory.

    A person is given as the `cluster_id` of the tables (a number from 0), or as the name or the number on the page
    (`"Ida"`, `"Person 3"`).
    """

    def __init__(
        self, path: str | os.PathLike[str], encryption_key: str | os.PathLike[str] | _crypt.Key | None = None
    ) -> None:
        """Opens the run directory at `path`, which is encrypted with the key in the file `encryption_key` or, without
        one, that `FACETRACK_ENCRYPTION_KEY_FILE` names.

        Raises `Error` when there is no run, when its manifest cannot be read, or when it does not have this key.
        """
        #: The run directory.
        self.path = Path(path)
        if not self.path.exists():
            raise Error(f"`{self.path}` does not exist", "pass a run directory, such as `runs/film`")
        if not (self.path / MANIFEST).is_file():
            raise Error(f"`{self.path}` is not a run directory: it has no {MANIFEST}", "run the video first")
        hint = "use another run directory, or delete this one and run the video again"
        #: The content of `manifest.json`: every stage with its settings, inputs, outputs and hashes.
        self.manifest: dict[str, Any] = _tables.read_json(self.path / MANIFEST, "a manifest", hint)
        found = self.manifest.get("format")
        if found != FORMAT:
            reason = f"its format is {found}, this version reads {FORMAT}"
            raise Error(f"`{self.path / MANIFEST}` is not a manifest of facetrack: {reason}", hint)
        if (fault := _tables.check_shape(self.manifest, SHAPE)) is not None:
            raise Error(f"`{self.path / MANIFEST}` is not a manifest of facetrack: {fault}", hint)
        self._key = _crypt.given(encryption_key)
        _crypt.check_folder(self.path, self.manifest, self._key)
        self._frames: dict[str, pd.DataFrame] = {}

    def __repr__(self) -> str:
        return f"<facetrack.Run `{self.path}`>"

    @property
    def tables(self) -> list[str]:
        """Names of the tables that finished stages wrote."""
        files = {output["file"] for stage in self.manifest["stages"] for output in stage["outputs"]}
        return [name for name in _tables.documents() if f"{name}.parquet" in files]

    def arrow(self, name: str) -> pa.Table:
        """Returns a table as an Arrow table. The table is read anew each time.

        Raises `Error` when the stage that writes the table has not finished, or the file cannot be read.
        """
        producer = _tables.document(name)["producer"]
        # The corrections are no output of a stage; the file is there once a correction was made.
        made = producer == "edits" and (self.path / f"{name}.parquet").is_file()
        if name not in self.tables and not made:
            message = f"`{self.path}` has no finished stage `{producer}`, which writes `{name}`"
            if producer in ("edits", "library"):
                raise Error(f"`{self.path}` has no table `{name}`")
            raise Error(message, "run the video again; finished stages are not repeated")
        return _tables.read_table(self.path / f"{name}.parquet", name, self._key)

    def table(self, name: str) -> pd.DataFrame:
        """Returns a table as it is, as a data frame.

        Raises `Error` when the stage that writes the table has not finished, or the file cannot be read.
        """
        return self._kept(name, lambda: _tables.to_pandas(self.arrow(name)))

    def _kept(self, name: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        if name not in self._frames:
            self._frames[name] = make()
        # A shallow copy: new columns of the caller do not become ours.
        return self._frames[name].copy(deep=False)

    @property
    def video(self) -> pd.Series:
        """The video: the only row of the table `videos`."""
        videos = self.table("videos")
        if len(videos) != 1:
            raise Error(f"`{self.path / 'videos.parquet'}` has {len(videos)} rows, not one", RESTORE)
        return videos.iloc[0]

    @property
    def video_id(self) -> str:
        """Key of the video."""
        return str(self.video["video_id"])

    @property
    def frames(self) -> pd.DataFrame:
        """The frames, as in the table `frames`."""
        return self.table("frames")

    @property
    def shots(self) -> pd.DataFrame:
        """The shots, as in the table `shots`."""
        return self.table("shots")

    @property
    def people(self) -> pd.DataFrame:
        """The people: the table `identities`, and `person`, the name or the number on the page."""
        return self._kept("people of the run", self._people)

    def _people(self) -> pd.DataFrame:
        people = self.table("identities")
        numbers = "Person " + (people["cluster_id"] + 1).astype(str)
        return people.assign(person=people["name"].astype(object).where(people["name"].notna(), numbers))

    @property
    def appearances(self) -> pd.DataFrame:
        """The appearances of people, in which gaps of at most 2 s are closed: the table `appearances`, and `person`,
        `start_secs` and `end_secs`."""
        return self._kept("people's appearances", self._appearances)

    def _appearances(self) -> pd.DataFrame:
        rows = self._named(self.table("appearances"))
        return rows.assign(start_secs=rows["first_t_secs"], end_secs=self._ends(rows["last_frame_idx"]))

    def _ends(self, frame_idx: pd.Series) -> np.ndarray:
        """Times at which frames end, seconds."""
        frames = self._timed_frames()
        ends: np.ndarray = (frames["t_secs"] + frames["duration_secs"]).to_numpy(dtype=float)
        chosen: np.ndarray = ends[frame_idx.to_numpy()]
        return chosen

    def _timed_frames(self) -> pd.DataFrame:
        """The frames, all with a duration. Tables of versions before 1.1.0 have none: then a frame lasts until the next
        one, and the last frame as long as frames usually do."""
        frames = self.frames
        gaps = -frames["t_secs"].diff(-1)
        durations = frames["duration_secs"].astype(float).fillna(gaps).fillna(gaps.median()).fillna(0.0)
        return frames.assign(duration_secs=durations)

    @property
    def tracks(self) -> pd.DataFrame:
        """The tracks: the table `tracks`; of `clusters` the columns `cluster_id`, `is_noise`, `confidence` and
        `not_a_face`; and `person`, which is missing for a track without a person."""
        return self._kept("people's tracks", self._tracks)

    def _tracks(self) -> pd.DataFrame:
        columns = ["video_id", "track_id", "cluster_id", "is_noise", "confidence", "not_a_face"]
        return self._named(self.table("tracks").merge(self.table("clusters")[columns], on=columns[:2], how="left"))

    @property
    def detections(self) -> pd.DataFrame:
        """The boxes: the table `detections`; `t_secs`; and `cluster_id` and `person`, which are missing for a box
        without a track and for a track without a person."""
        return self._kept("people's detections", self._detections)

    def _detections(self) -> pd.DataFrame:
        rows = self.table("detections")
        rows = rows.merge(self.frames[["video_id", "frame_idx", "t_secs"]], on=["video_id", "frame_idx"], how="left")
        clusters = self.table("clusters")[["video_id", "track_id", "cluster_id"]].astype({"track_id": "Int64"})
        return self._named(rows.merge(clusters, on=["video_id", "track_id"], how="left"))

    def _named(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Adds the column `person`."""
        people = self.people[["video_id", "cluster_id", "person"]].astype({"cluster_id": rows["cluster_id"].dtype})
        return rows.merge(people, on=["video_id", "cluster_id"], how="left")

    def person(self, person: int | str) -> int:
        """Returns the `cluster_id` of a person, who is given by it, by name, or by the number on the page.

        Raises `Error` when there is no such person, or when several people have the name.
        """
        return _find(self.people, "cluster_id", person, f"`{self.path}`")

    def on_screen(self, t_secs: float) -> pd.DataFrame:
        """Returns the rows of `detections` in the frame that is shown at a time, in seconds; without rejected boxes, and
        without what a correction calls no face."""
        frames = self.frames
        shown = frames[frames["t_secs"] <= t_secs]
        rows = self.detections
        # Before the first frame there is none, and none after the end of the last.
        if shown.empty or t_secs >= self._ends(frames["frame_idx"].iloc[-1:])[0]:
            return rows.iloc[:0]
        rows = rows[(rows["frame_idx"] == shown["frame_idx"].iloc[-1]) & rows["track_id"].notna()]
        clusters = self.table("clusters")
        no_faces = clusters.loc[clusters["not_a_face"].fillna(False).astype(bool), "track_id"]
        faces: pd.DataFrame = rows[~rows["track_id"].isin(no_faces)]
        return faces

    def similar(self, person: int | str, n: int | None = None) -> pd.DataFrame:
        """Returns the other people in order of their similarity, or the first `n`: `video_id`, `cluster_id`, `person`
        and `similarity`, the cosine similarity of the mean embeddings of both people, −1 to 1.

        The means are over the tracks of a person, by the embedder that tracks are linked by. A person without an
        embedding is left out.
        """
        chosen = self.person(person)
        ids, means = _vectors.means(self.arrow("track_embeddings"), self.table("clusters"))
        found = _vectors.similar(ids, means, chosen, "cluster_id", n)
        people = self.people[["video_id", "cluster_id", "person"]]
        rows = found.merge(people, on="cluster_id")
        return rows[["video_id", "cluster_id", "person", "similarity"]]

    def co_appearance(self) -> pd.DataFrame:
        """Returns the time that every two people are on screen together, in seconds, as a matrix by `cluster_id`; the
        time of each person is on the diagonal."""
        rows = self.detections.dropna(subset="cluster_id")[["video_id", "frame_idx", "cluster_id"]].drop_duplicates()
        keys = ["video_id", "frame_idx"]
        rows = rows.merge(self._timed_frames()[[*keys, "duration_secs"]], on=keys)
        pairs = rows.merge(rows[[*keys, "cluster_id"]], on=keys, suffixes=("", "_other"))
        ids = self.people["cluster_id"].tolist()
        matrix = pd.DataFrame(0.0, index=pd.Index(ids, name="cluster_id"), columns=pd.Index(ids, name="with"))
        if len(pairs):
            sums = pairs.groupby(["cluster_id", "cluster_id_other"])["duration_secs"].sum().unstack(fill_value=0)
            matrix = sums.reindex(index=matrix.index, columns=matrix.columns, fill_value=0.0).astype(float)
        return matrix


def _find(people: pd.DataFrame, key: str, person: int | str, where: str) -> int:
    """Returns the key of a person, who is given by the key, by name or by the number on the page."""
    column = "person" if isinstance(person, str) else key
    found = people.loc[people[column] == person, key].tolist()
    if len(found) == 1:
        return int(found[0])
    if not found:
        raise Error(f"{where} has no person {person!r}", "the column `person` of `people` lists them")
    raise Error(f"{len(found)} people of {where} have the name {person!r}", f"give the {key}: {found}")
