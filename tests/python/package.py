"""Tests the Python package `facetrack` on runs and galleries that the program wrote.

    package.py run RUN                     what the package says of a run follows from its tables
    package.py library LIBRARY RUN...      what it says of a gallery of these runs follows from its tables
    package.py errors FOLDER RUN LIBRARY   every error is one sentence and a hint; FOLDER is empty
    package.py notebook FILE RUN LIBRARY   the notebook runs with these paths
    package.py version VERSION             the package has the version of the program

Complaints go to standard error, the exit code is 1.
"""

import json
import os
import shutil
import sys
from pathlib import Path

os.environ["MPLBACKEND"] = "agg"

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

import facetrack


def check(condition, complaint):
    if not condition:
        sys.exit(complaint)


def equal(ours, theirs, what):
    """`theirs` is what the package says."""
    ours, theirs = list(ours), list(theirs)
    check(len(ours) == len(theirs), f"{what}: {len(theirs)} values, not {len(ours)}")
    for a, b in zip(ours, theirs):
        missing = pd.isna(a) and pd.isna(b)
        check(missing or a == b or (isinstance(a, float) and abs(a - b) < 1e-9), f"{what}: {b!r}, not {a!r}")


class Tables:
    """The tables of a run as pandas reads them, with dictionaries in place of joins."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.people = self.read("identities")
        self.name = {
            row.cluster_id: row.name_ if isinstance(row.name_, str) else f"Person {row.cluster_id + 1}"
            for row in self.people.rename(columns={"name": "name_"}).itertuples()
        }
        clusters = self.read("clusters")
        self.owner = {t: None if pd.isna(c) else int(c) for t, c in zip(clusters.track_id, clusters.cluster_id)}
        frames = self.read("frames")
        self.begins = dict(zip(frames.frame_idx, frames.t_secs))
        self.lasts = dict(zip(frames.frame_idx, frames.duration_secs))

    def read(self, name):
        return pd.read_parquet(self.folder / f"{name}.parquet")


def run(folder):
    found, tables = facetrack.read(folder), Tables(folder)
    check(isinstance(found, facetrack.Run), f"{folder} is {found}")
    names = [path.stem for path in Path(folder).glob("*.parquet") if not path.stem.startswith("edit")]
    check(sorted(found.tables) == sorted(names), f"the tables are {found.tables}, not {sorted(names)}")
    for name in names:
        table = found.table(name)
        check(list(table.columns) == list(tables.read(name).columns), f"{name} has the columns {list(table.columns)}")
        check(len(table) == len(tables.read(name)), f"{name} has {len(table)} rows")
    check(str(found.table("clusters").cluster_id.dtype) == "Int64", "a key that may be missing is no whole number")

    equal(tables.name.values(), found.people.person, "people")
    tracks, boxes = tables.read("tracks"), tables.read("detections")
    person = lambda track: tables.name.get(tables.owner.get(track))
    equal([person(t) for t in tracks.track_id], found.tracks.person, "people of tracks")
    equal([person(t) for t in boxes.track_id], found.detections.person, "people of boxes")
    equal([tables.begins[f] for f in boxes.frame_idx], found.detections.t_secs, "times of boxes")
    rows = tables.read("appearances")
    equal([tables.name[c] for c in rows.cluster_id], found.appearances.person, "people of appearances")
    ends = [t + tables.lasts[f] for t, f in zip(rows.last_t_secs, rows.last_frame_idx)]
    equal(ends, found.appearances.end_secs, "ends of appearances")
    for frame in (found.people, found.tracks, found.detections, found.appearances):
        check("video_id" in frame and set(frame.video_id) <= {found.video_id}, "a frame without its video")

    # A new column of the caller is none of ours.
    people = found.people
    people["mine"] = 1
    check("mine" not in found.people, "the package kept a column of the caller")

    on_screen(found, tables, boxes)
    if not len(tables.people):
        check(found.co_appearance().empty and found.people.empty, "a run without people has people")
        found.plot_timeline(), found.plot_co_appearance()
        return
    similar(found, tables)
    together(found, tables, boxes)
    plots(found, found.people)
    first = tables.people.cluster_id.iloc[0]
    check(found.person(tables.name[first]) == found.person(int(first)) == first, "a person by name and by key")


def on_screen(found, tables, boxes):
    frames = sorted(tables.begins)
    for at in {frames[0], frames[len(frames) // 3], frames[-1]}:
        middle = tables.begins[at] + tables.lasts[at] / 2
        tracked = boxes[(boxes.frame_idx == at) & boxes.track_id.notna()]
        equal(tracked.track_id, found.on_screen(middle).track_id, f"tracks on screen at {middle}")
    check(found.on_screen(tables.begins[frames[0]] - 0.001).empty, "a face before the first frame")
    check(found.on_screen(tables.begins[frames[-1]] + tables.lasts[frames[-1]]).empty, "a face after the last frame")


def similar(found, tables):
    """Means by a dictionary of lists, as the gallery defines them."""
    rows = tables.read("track_embeddings")
    rows = rows[rows.embedder == rows.embedder.iloc[0]] if len(rows) else rows
    vectors = {}
    for track, vector in zip(rows.track_id, rows.embedding):
        if tables.owner[track] is not None:
            vectors.setdefault(tables.owner[track], []).append(vector.astype(float))
    means = {c: np.mean(v, axis=0) / np.linalg.norm(np.mean(v, axis=0)) for c, v in vectors.items()}
    for chosen in list(means)[:3]:
        others = sorted(((means[chosen] @ m, -c) for c, m in means.items() if c != chosen), reverse=True)
        table = found.similar(int(chosen))
        equal([-c for _, c in others], table.cluster_id, f"people similar to {chosen}")
        check(np.allclose([s for s, _ in others], table.similarity), f"similarities to {chosen}")
        equal([tables.name[-c] for _, c in others[:2]], found.similar(tables.name[chosen], n=2).person, "names")


def together(found, tables, boxes):
    shown = {}
    for frame, track in zip(boxes.frame_idx, boxes.track_id):
        if tables.owner.get(track) is not None:
            shown.setdefault(frame, set()).add(tables.owner[track])
    matrix = found.co_appearance()
    for a in tables.people.cluster_id[:6]:
        for b in tables.people.cluster_id[:6]:
            secs = sum(tables.lasts[frame] for frame, people in shown.items() if {a, b} <= people)
            check(abs(secs - matrix.loc[a, b]) < 1e-6, f"{a} and {b} are together for {matrix.loc[a, b]} s, not {secs}")
    diagonal = np.diag(matrix.loc[tables.people.cluster_id, tables.people.cluster_id])
    check(np.allclose(diagonal, tables.people.screen_secs), "time on screen")


def plots(source, people):
    """What the plots show, not how they look."""
    key = "cluster_id" if "cluster_id" in people else "person_id"
    longest = people.sort_values(["screen_secs", key], ascending=[False, True]).person.tolist()[:40]
    axes = source.plot_timeline()
    check([label.get_text() for label in axes.get_yticklabels()] == longest, "the timeline names other people")
    bars = sum(len(bar.get_paths()) for bar in axes.collections)
    shown = source.appearances.person.isin(longest).sum()
    check(bars == shown, f"the timeline has {bars} bars, not {shown}")
    check([label.get_text() for label in source.plot_co_appearance().get_yticklabels()] == longest, "another matrix")


def library(folder, *runs):
    found = facetrack.read(folder)
    check(isinstance(found, facetrack.Library), f"{folder} is {found}")
    tables = [Tables(run) for run in runs]
    people = pd.read_parquet(Path(folder) / "people.parquet")
    members = pd.concat(map(pd.read_parquet, sorted(Path(folder).glob("members/*.parquet"))))
    labels = [n if isinstance(n, str) else f"Person {p}" for p, n in zip(people.person_id, people["name"])]
    equal(labels, found.people.person, "people")
    key = ["video_id", "cluster_id", "person_id"]
    ours = sorted(map(tuple, members[key].astype(str).to_numpy().tolist()))
    check(ours == sorted(map(tuple, found.members[key].astype(str).to_numpy().tolist())), "other members")
    check(list(found.videos.video_id) == [run.video_id for run in found.runs], "other videos")

    owner = {(v, c): p for v, c, p in members[key].itertuples(index=False)}
    label = dict(zip(people.person_id, labels))
    for name in ("appearances", "tracks", "detections"):
        rows = getattr(found, name)
        check(len(rows) == sum(len(t.read(name)) for t in tables), f"{name} has {len(rows)} rows")
        check(rows.video_id.nunique() == len(runs), f"{name} has not all videos")
        for row in rows.sample(min(len(rows), 300), random_state=1).itertuples():
            person = None if pd.isna(row.cluster_id) else owner[row.video_id, row.cluster_id]
            check(pd.isna(row.person_id) if person is None else row.person_id == person, f"{name}: another person")
            check(pd.isna(row.person) if person is None else row.person == label[person], f"{name}: another name")
    vectors = {}
    for file in json.loads((Path(folder) / "library.json").read_text())["vector_files"]:
        table = pd.read_parquet(Path(folder) / file["file"])
        vectors |= dict(zip(table.person_id, table.embedding))
    chosen = people.person_id.iloc[0]
    others = sorted(((vectors[chosen] @ vectors[p], -p) for p in people.person_id if p != chosen), reverse=True)
    equal([-p for _, p in others], found.similar(int(chosen)).person_id, "similar people")
    matrix = found.co_appearance()
    check(np.allclose(np.diag(matrix), people.screen_secs), "time on screen")
    plots(found, found.people)


def complaint(act, expected):
    try:
        act()
    except facetrack.Error as error:
        return str(error)
    sys.exit(f"no error where one was expected: {expected}")


def errors(folder, run, library):
    folder, run, library = Path(folder), Path(run), Path(library)
    nowhere = folder / "nowhere"
    cases = [
        (lambda: facetrack.read(nowhere), f"`{nowhere}` does not exist\nhint: pass a run directory"),
        (lambda: facetrack.read(folder), f"`{folder}` is not a run directory: it has no manifest.json\nhint: run the"),
        (lambda: facetrack.Library(folder), f"`{folder}` is not a gallery: it has no library.json\nhint: add a run"),
        (lambda: facetrack.read(run).table("faces"), "there is no table `faces`\nhint: the tables are appearances, "),
        (lambda: facetrack.read(run).table("people"), f"`{run}` has no table `people`"),
        (lambda: facetrack.read(run).person("Zoe"), f"`{run}` has no person 'Zoe'\nhint: "),
        (lambda: facetrack.read(run).similar(10**9), f"`{run}` has no person 1000000000\nhint: "),
        (lambda: facetrack.read(library).run("0a"), f"`{library}` has no video '0a'\nhint: "),
    ]

    def broken(name, change):
        copy = folder / name
        shutil.copytree(run, copy)
        change(copy)
        return copy

    def unfinished(copy):
        manifest = json.loads((copy / "manifest.json").read_text())
        manifest["stages"] = [stage for stage in manifest["stages"] if stage["stage"] not in ("cluster", "evaluate")]
        (copy / "manifest.json").write_text(json.dumps(manifest))

    def version(text):
        def change(copy):
            table = pq.read_table(copy / "tracks.parquet")
            footer = json.loads(table.schema.metadata[b"facetrack"]) | {"version": text}
            keys = table.schema.metadata | {b"facetrack": json.dumps(footer).encode()}
            pq.write_table(table.replace_schema_metadata(keys), copy / "tracks.parquet")

        return change

    copy = broken("unfinished", unfinished)
    text = f"`{copy}` has no finished stage `cluster`, which writes `identities`\nhint: run the video again; finished stages are not repeated"
    cases += [(lambda: facetrack.read(copy).people, text)]
    newer = {name: broken(name, version(name)) for name in ("1.99.0", "2.0.0", "0.9.0", "x")}
    for name, what in [("1.99.0", "too new"), ("2.0.0", "too new"), ("0.9.0", "too old")]:
        text = f"`{newer[name] / 'tracks.parquet'}` contains `tracks` {name}, which is {what}; this version reads 1."
        cases += [(lambda name=name: facetrack.read(newer[name]).tracks, text)]
    text = f"`{newer['x'] / 'tracks.parquet'}` is not a `tracks` table of facetrack: its version is 'x'\nhint: restore"
    cases += [(lambda: facetrack.read(newer["x"]).tracks, text)]

    swapped = broken("swapped", lambda copy: shutil.copy(copy / "shots.parquet", copy / "tracks.parquet"))
    cases += [(lambda: facetrack.read(swapped).tracks, f"`{swapped / 'tracks.parquet'}` is not a `tracks` table of")]
    cut = broken("cut", lambda copy: (copy / "tracks.parquet").write_bytes(b"PAR1"))
    cases += [(lambda: facetrack.read(cut).tracks, f"failed to read the Parquet file `{cut / 'tracks.parquet'}`: ")]
    gone = broken("gone", lambda copy: (copy / "tracks.parquet").unlink())
    cases += [(lambda: facetrack.read(gone).tracks, f"failed to read `{gone / 'tracks.parquet'}`: the file does not")]
    bad = broken("bad", lambda copy: (copy / "manifest.json").write_text("{"))
    cases += [(lambda: facetrack.read(bad), f"`{bad / 'manifest.json'}` is not a manifest of facetrack: ")]
    future = broken("future", lambda copy: (copy / "manifest.json").write_text('{"format": 2}'))
    cases += [(lambda: facetrack.read(future), f"`{future / 'manifest.json'}` is not a manifest of facetrack: its form")]

    damages = [
        ({"stages": None}, "`stages` is not a list"),
        ({"stages": ["x"]}, "item 0 of `stages` is not an object"),
        ({"stages": [{"stage": "ingest"}]}, "item 0 of `stages` has no `outputs`"),
        ({"stages": [{"outputs": [{"file": 7}]}]}, "`file` is not a text"),
    ]
    for at, (change, text) in enumerate(damages):
        def damage(copy, change=change):
            manifest = json.loads((copy / "manifest.json").read_text()) | change
            (copy / "manifest.json").write_text(json.dumps(manifest))

        damaged = broken(f"damaged{at}", damage)
        text = f"`{damaged / 'manifest.json'}` is not a manifest of facetrack: {text}\nhint: "
        cases += [(lambda damaged=damaged: facetrack.read(damaged), text)]

    def without_column(copy):
        table = pq.read_table(copy / "tracks.parquet").drop_columns(["shot_idx"])
        pq.write_table(table, copy / "tracks.parquet")

    less = broken("less", without_column)
    text = f"`{less / 'tracks.parquet'}` is not a `tracks` table of facetrack: it has no column `shot_idx`\nhint: "
    cases += [(lambda: facetrack.read(less).tracks, text)]

    # Without its runs, a gallery has its own tables.
    alone = folder / "alone" / "library"
    shutil.copytree(library, alone)
    index = json.loads((library / "library.json").read_text())
    index["videos"][0]["run_dir"] = "nowhere"
    (alone / "library.json").write_text(json.dumps(index))
    check(len(facetrack.read(alone).people) == len(facetrack.read(library).people), "a gallery without its runs")
    cases += [(lambda: facetrack.read(alone).appearances, "the run '")]
    for change, text in [({"format": 2}, "is a gallery of format 2"), ({"format": 9}, "is a gallery of format 9")]:
        index = json.loads((library / "library.json").read_text()) | change
        other = folder / str(change["format"])
        shutil.copytree(library, other)
        (other / "library.json").write_text(json.dumps(index))
        cases += [(lambda other=other: facetrack.read(other), f"`{other}` {text}, this version reads 3\nhint: ")]
    for at, change in enumerate(({"videos": {}}, {"videos": [{}]}, {"vector_files": [{"file": None}]})):
        index = json.loads((library / "library.json").read_text()) | change
        other = folder / f"index{at}"
        shutil.copytree(library, other)
        (other / "library.json").write_text(json.dumps(index))
        text = f"`{other / 'library.json'}` is not the index of a gallery of facetrack: "
        cases += [(lambda other=other: facetrack.read(other), text)]
    outside = folder / "outside"
    shutil.copytree(library, outside)
    index = json.loads((library / "library.json").read_text())
    index["videos"][0]["file"] = "../x.parquet"
    (outside / "library.json").write_text(json.dumps(index))
    cases += [(lambda: facetrack.read(outside).members, f"`{outside / 'library.json'}` names the file '../x.parquet'")]

    for act, expected in cases:
        found = complaint(act, expected)
        check(found.startswith(expected), f"{found!r} does not begin with {expected!r}")
        check(len(found.split("\n")) <= 2, f"{found!r} has more than a sentence and a hint")
    # An older minor version has all columns of the present one.
    older = broken("older", version("1.0.0"))
    table = pq.read_table(older / "tracks.parquet").drop_columns(["torso"])
    pq.write_table(table, older / "tracks.parquet")
    check(facetrack.read(older).tracks.torso.isna().all(), "a new column of an older table is not null")


def notebook(file, run, library):
    import nbformat
    from nbclient import NotebookClient

    # In a notebook, plots are outputs of cells.
    os.environ.pop("MPLBACKEND")
    text = Path(file).read_text().replace("runs/film", run).replace("runs/library", library)
    book = nbformat.reads(text, as_version=4)
    nbformat.validate(book)
    check(not any(cell.get("outputs") for cell in book.cells), "the notebook has outputs: faces do not belong there")
    NotebookClient(book, timeout=120, kernel_name="python3").execute()
    silent = [cell.source for cell in book.cells if cell.cell_type == "code" and not cell.outputs]
    check(len(silent) == 1, f"cells without an output: {silent}")


def version(text):
    check(facetrack.__version__ == text, f"the package is {facetrack.__version__}, the program {text}")
    check((Path(facetrack.__file__).with_name("py.typed")).exists(), "the package has no py.typed")


if __name__ == "__main__":
    tasks = {"run": run, "library": library, "errors": errors, "notebook": notebook, "version": version}
    tasks[sys.argv[1]](*sys.argv[2:])
