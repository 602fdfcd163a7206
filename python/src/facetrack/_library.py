"""A gallery: the people of several videos."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from . import _crypt, _tables, _vectors
from ._errors import RESTORE, UPGRADE, Error
from ._plotted import Plotted
from ._run import Run, _find

#: Name of the index.
INDEX = "library.json"
#: Version of the format of the index.
FORMAT = 3
#: What this package reads of an index.
SHAPE: dict[str, Any] = {
    "videos": [{"video_id": str, "run_id": str, "file": str}],
    "vector_files": [{"file": str}],
}


class Library(Plotted):
    """The directory of a gallery. Tables are read when they are first used, and kept in memory.

    A person is given as the `person_id` of the tables, or as the name or the number on the page (`"Ida"`,
    `"Person 3"`; in a gallery, this number is the `person_id`).
    """

    def __init__(
        self, path: str | os.PathLike[str], encryption_key: str | os.PathLike[str] | _crypt.Key | None = None
    ) -> None:
        """Opens the gallery at `path`, which is encrypted with the key in the file `encryption_key` or, without one,
        that `FACETRACK_ENCRYPTION_KEY_FILE` names.

        Raises `Error` when there is no gallery, when its index cannot be read, or when it does not have this key.
        """
        #: The directory.
        self.path = Path(path)
        if not self.path.exists():
            raise Error(f"`{self.path}` does not exist", "pass a gallery, such as `runs/library`")
        if not self.is_at(self.path):
            raise Error(f"`{self.path}` is not a gallery: it has no {INDEX}", "add a run with `facetrack library add`")
        #: The content of `library.json`.
        self.index: dict[str, Any] = _tables.read_json(self.path / INDEX, "the index of a gallery", RESTORE)
        found = self.index.get("format")
        if found != FORMAT:
            is_newer = isinstance(found, int) and found > FORMAT
            hint = UPGRADE if is_newer else "`facetrack library add` upgrades the gallery"
            raise Error(f"`{self.path}` is a gallery of format {found}, this version reads {FORMAT}", hint)
        if (fault := _tables.check_shape(self.index, SHAPE)) is not None:
            raise Error(f"`{self.path / INDEX}` is not the index of a gallery of facetrack: {fault}", RESTORE)
        # Indexes of earlier versions do not have the places of the runs.
        wrong = [video["video_id"] for video in self.index["videos"] if not isinstance(video.get("run_dir", ""), (str, type(None)))]
        if wrong:
            fault = f"`run_dir` of the video {wrong[0]} is not a text"
            raise Error(f"`{self.path / INDEX}` is not the index of a gallery of facetrack: {fault}", RESTORE)
        self._key = _crypt.given(encryption_key)
        _crypt.check_folder(self.path, self.index, self._key)
        self._frames: dict[str, pd.DataFrame] = {}
        self._runs: dict[str, Run] = {}

    @staticmethod
    def is_at(path: Path) -> bool:
        """Whether there is a gallery at `path`."""
        return (path / INDEX).is_file()

    def __repr__(self) -> str:
        return f"<facetrack.Library `{self.path}`>"

    def _file(self, file: str) -> Path:
        """The path of a file that the index names, which must lie below the gallery."""
        parts = PurePosixPath(file).parts
        if not parts or PurePosixPath(file).is_absolute() or ".." in parts:
            raise Error(f"`{self.path / INDEX}` names the file {file!r}, which is outside the gallery", RESTORE)
        return self.path.joinpath(*parts)

    def _kept(self, name: str, frame: pd.DataFrame | None = None) -> pd.DataFrame | None:
        if frame is not None:
            self._frames[name] = frame
        kept = self._frames.get(name)
        return None if kept is None else kept.copy(deep=False)

    @property
    def people(self) -> pd.DataFrame:
        """The people: the table `people`, and `person`, the name or the number on the page."""
        if (kept := self._kept("people")) is not None:
            return kept
        people = _tables.to_pandas(_tables.read_table(self.path / "people.parquet", "people", self._key))
        numbers = "Person " + people["person_id"].astype(str)
        people["person"] = people["name"].astype(object).where(people["name"].notna(), numbers)
        self._kept("people", people)
        return people.copy(deep=False)

    @property
    def members(self) -> pd.DataFrame:
        """The people of each video: the rows of the table `members` of all videos, and `person`."""
        if (kept := self._kept("members")) is not None:
            return kept
        files = [self._file(video["file"]) for video in self.index["videos"]]
        tables = [_tables.to_pandas(_tables.read_table(file, "members", self._key)) for file in files]
        if not tables:
            return pd.DataFrame({column["name"]: [] for column in _tables.document("members")["columns"]} | {"person": []})
        members = _tables.concat(tables).merge(self.people[["person_id", "person"]], on="person_id", how="left")
        self._kept("members", members)
        return members.copy(deep=False)

    @property
    def videos(self) -> pd.DataFrame:
        """The videos in the order in which they were added: `video_id`, `run_id`, and `run_dir`, which is missing if
        the gallery does not know where the run is."""
        rows = self.index["videos"]
        places = [None if row.get("run_dir") is None else str(self._place(row["run_dir"])) for row in rows]
        columns = {key: [row[key] for row in rows] for key in ("video_id", "run_id")}
        return pd.DataFrame(columns | {"run_dir": places})

    def _place(self, run_dir: str) -> Path:
        return Path(os.path.normpath(self.path / run_dir))

    def run(self, video_id: str) -> Run:
        """Returns the run of a video.

        Raises `Error` when the gallery does not have the video, when the run is not in its place, or when it has other
        people than when it was added.
        """
        if video_id in self._runs:
            return self._runs[video_id]
        row = next((row for row in self.index["videos"] if row["video_id"] == video_id), None)
        if row is None:
            raise Error(f"`{self.path}` has no video {video_id!r}", "the column `video_id` of `videos` lists them")
        if row.get("run_dir") is None or not self._place(row["run_dir"]).exists():
            where = "an unknown place" if row.get("run_dir") is None else f"`{self._place(row['run_dir'])}`"
            hint = f"add the run again with `facetrack library add --library {self.path} --run-dir RUN`"
            raise Error(f"the run {row['run_id']!r} of the gallery `{self.path}` is not at {where}", hint)
        run = Run(self._place(row["run_dir"]), self._key)
        self._check(run, video_id)
        self._runs[video_id] = run
        return run

    def _check(self, run: Run, video_id: str) -> None:
        """Checks that a run has the people that it had when it was added: clusters are numbered anew by each run."""
        columns = ["cluster_id", "n_tracks", "screen_secs"]
        members = self.members
        added = members.loc[members["video_id"] == video_id, columns].sort_values("cluster_id", ignore_index=True)
        # People without an embedding are not in the gallery.
        present = run.people.loc[run.people["cluster_id"].isin(added["cluster_id"]), columns]
        present = present.sort_values("cluster_id", ignore_index=True)
        if run.video_id != video_id or not added.equals(present):
            hint = f"add the run again with `facetrack library add --library {self.path} --run-dir {run.path}`"
            raise Error(f"`{run.path}` has changed since it was added to the gallery `{self.path}`", hint)

    @property
    def runs(self) -> list[Run]:
        """The runs of all videos, in the order in which they were added.

        Raises `Error` when one of them is not in its place or has changed.
        """
        return [self.run(row["video_id"]) for row in self.index["videos"]]

    @property
    def appearances(self) -> pd.DataFrame:
        """The appearances of all videos: those of each run, with `person_id` and the `person` of the gallery."""
        return self._of_runs("appearances")

    @property
    def tracks(self) -> pd.DataFrame:
        """The tracks of all videos: those of each run, with `person_id` and the `person` of the gallery."""
        return self._of_runs("tracks")

    @property
    def detections(self) -> pd.DataFrame:
        """The boxes of all videos: those of each run, with `person_id` and the `person` of the gallery."""
        return self._of_runs("detections")

    def _of_runs(self, name: str) -> pd.DataFrame:
        if (kept := self._kept(name)) is not None:
            return kept
        frames = [getattr(run, name).drop(columns="person") for run in self.runs]
        if not frames:
            raise Error(f"`{self.path}` has no videos", "add a run with `facetrack library add`")
        rows = _tables.concat(frames)
        keys = ["video_id", "cluster_id"]
        members = self.members[[*keys, "person_id", "person"]].astype({key: rows[key].dtype for key in keys})
        rows = rows.merge(members.astype({"person_id": "Int64"}), on=keys, how="left")
        self._kept(name, rows)
        return rows.copy(deep=False)

    def person(self, person: int | str) -> int:
        """Returns the `person_id` of a person, who is given by it, by name, or by the number on the page.

        Raises `Error` when there is no such person, or when several people have the name.
        """
        return _find(self.people, "person_id", person, f"`{self.path}`")

    def similar(self, person: int | str, n: int | None = None) -> pd.DataFrame:
        """Returns the other people of the gallery in order of their similarity, or the first `n`: `person_id`,
        `person` and `similarity`, the cosine similarity of the mean embeddings of both people, −1 to 1."""
        chosen = self.person(person)
        vectors: dict[int, np.ndarray] = {}
        # For a person in several files, the last one counts.
        for file in self.index["vector_files"]:
            table = _tables.read_table(self._file(file["file"]), "person_vectors", self._key)
            vectors |= dict(zip(table["person_id"].to_pylist(), _vectors.matrix(table)))
        present = set(self.people["person_id"])
        ids = np.array(sorted(key for key in vectors if key in present), dtype=np.int64)
        rows = np.array([vectors[key] for key in ids.tolist()])
        found = _vectors.similar(ids, rows, chosen, "person_id", n)
        return found.merge(self.people[["person_id", "person"]], on="person_id")[["person_id", "person", "similarity"]]

    def co_appearance(self) -> pd.DataFrame:
        """Returns the time that every two people are on screen together in the same video, in seconds, as a matrix by
        `person_id`; the time of each person is on the diagonal."""
        ids = self.people["person_id"].tolist()
        matrix = pd.DataFrame(0.0, index=pd.Index(ids, name="person_id"), columns=pd.Index(ids, name="with"))
        members = self.members
        for run in self.runs:
            own = members[members["video_id"] == run.video_id].set_index("cluster_id")["person_id"]
            part = run.co_appearance().reindex(index=own.index, columns=own.index, fill_value=0.0)
            part.index, part.columns = pd.Index(own.to_numpy()), pd.Index(own.to_numpy())
            matrix.loc[part.index, part.columns] += part
        return matrix
