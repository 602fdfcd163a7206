"""Fits the quality table of an embedder: how much of its vectors is the person, by their raw norm.

    fit.py crops FACES.parquet RUN
    facetrack stage embed --run-dir RUN --set 'embed.embedders=["NAME"]' --weights NAME=FILE
    fit.py table FACES.parquet RUN NAME TABLE.json [--track-odds 1.5]

FACES.parquet has the columns `person`, a number, and `image`, a JPEG or PNG of 160 x 160 pixels aligned as in the table
`crops`. `crops` writes a run directory with every picture as it is and in COPIES degraded copies; the program embeds
them, so that the preparation is that of the program for every network, `--own-weights arcface=FILE` included. `table`
fits the model of `schema::footer::Quality` and prints the cost of the log likelihood ratios (Cllr, bits; Bruemmer and du
Preez, Computer Speech and Language 20, 2006) of pairs of people who were left out of the fit, with and without the norm: a
network whose cost is hardly lower with the norm needs no table.

TABLE.json belongs beside this script; the row of the embedder in `src/` names it. docs/design/linking.md says how the stored
tables were fitted. Written for Python 3.11, numpy 2.4.6, scipy 1.17.1, pyarrow 26.0.1, opencv-python-headless 5.0.0.93.
"""

import argparse
import hashlib
import json
import pathlib
import textwrap

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.optimize import minimize_scalar

SEED = 1
SIDE = 160  # of a crop, pixels
COPIES = 2  # degraded copies of each picture
FACE = 112  # width of the part of a crop that counts as the face, pixels
WIDTH = 0.08  # of the Gaussian kernel over the logarithm of the norm
KNOTS = 10
MIN_GAIN = 0.1
SPAN = 0.002, 0.98  # shares of the norms that lie below the first and the last knot
FIELDS = "centre_norm mean slope norms gain noise person_variance evidence_dim".split()
PARTS = 10  # of the people, each left out once
FACTOR = 0.85  # of the precision, for the log likelihood ratios of single pictures


def degraded(picture, random):
    """The picture as footage would show it: shifted landmarks, a turned head, few pixels, blur, dim and coloured light,
    compression."""
    turn, scale, shift = np.radians(random.normal(0, 2)), random.uniform(0.96, 1.04), random.normal(0, 1.5, 2)
    squeeze = random.uniform(0.72, 1) if random.random() < 0.5 else 1.0
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag([squeeze, 1])
    middle = np.full(2, (SIDE - 1) / 2)
    matrix = np.column_stack([matrix, middle + shift - matrix @ middle])
    face = cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    small = round(SIDE / FACE * np.exp(random.uniform(np.log(18), np.log(112))))
    face = cv2.resize(face, (small, small), interpolation=cv2.INTER_AREA)
    if random.random() < 0.5:
        face = cv2.GaussianBlur(face, (0, 0), random.uniform(0.3, 1.2) * (small / 60) ** 0.5)
    if random.random() < 0.25:
        length, angle = 1 + 2 * round(small * random.uniform(0.01, 0.04)), random.uniform(0, 180)
        line = np.zeros((length, length), np.float32)
        line[length // 2] = 1 / length
        line = cv2.warpAffine(line, cv2.getRotationMatrix2D((length // 2, length // 2), angle, 1), (length, length))
        face = cv2.filter2D(face, -1, line / line.sum())
    if random.random() < 0.5:
        light = random.uniform(0.35, 1) * random.uniform(0.85, 1.15, 3)
        face = np.clip(face * light, 0, 255).astype(np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(18, 81))]
    face = cv2.imdecode(cv2.imencode(".jpg", face, quality)[1], cv2.IMREAD_COLOR)
    return cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def write_crops(faces, run):
    """A run directory of which the tables `crops` alone exist: a picture is a track, its copies are later frames."""
    run.mkdir(parents=True)
    video = hashlib.sha256(faces.read_bytes()).hexdigest()
    footer = dict(table="crops", version="1.0.0", producer="fit.py", run_id=run.name, fingerprint=video)
    fields = dict(track_id=pa.int64(), rank=pa.int64(), frame_idx=pa.int64(), image=pa.binary(), width=pa.int64())
    fields |= dict(height=pa.int64(), transform=pa.list_(pa.field("item", pa.float32(), False), 6), quality=pa.float32())
    schema = pa.schema([pa.field("video_id", pa.dictionary(pa.int32(), pa.string()), False)])
    for name, kind in fields.items():
        schema = schema.append(pa.field(name, kind, name == "image"))
    schema = schema.with_metadata({"facetrack": json.dumps(footer)})
    count = 0
    with pq.ParquetWriter(run / "crops.parquet", schema, compression="zstd", use_dictionary=["video_id"]) as writer:
        for batch in pq.ParquetFile(faces).iter_batches(256, columns=["image"]):
            images = []
            for number, jpeg in enumerate(batch["image"].to_pylist(), count):
                picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
                assert picture.shape == (SIDE, SIDE, 3), f"picture {number} has the shape {picture.shape}"
                copies = [degraded(picture, np.random.default_rng([SEED, number, i])) for i in range(COPIES)]
                images += [cv2.imencode(".png", copy)[1].tobytes() for copy in [picture, *copies]]
            rows = np.arange(len(images))
            rank = rows % (COPIES + 1)
            same = lambda value, kind: pa.array([value] * len(rows), kind)
            columns = [pa.array([video[:16]] * len(rows)).dictionary_encode(), count + rows // (COPIES + 1), rank, rank]
            columns += [images, same(SIDE, "int64"), same(SIDE, "int64")]
            columns += [same([1, 0, 0, 0, 1, 0], fields["transform"]), same(1.0, "float32")]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=256)
            count += len(images) // (COPIES + 1)
    crops = (run / "crops.parquet").read_bytes()
    output = dict(file="crops.parquet", table_version="1.0.0", rows=count * (COPIES + 1), size_bytes=len(crops))
    output["sha256"] = hashlib.sha256(crops).hexdigest()
    stage = dict(stage="detect-track", version=1, fingerprint=video, producer="fit.py", config={}, inputs=[])
    stage |= dict(outputs=[output], warnings=[], figures={}, duration_secs=0.0)
    video = dict(path=str(faces.resolve()), size_bytes=faces.stat().st_size, modified_ns=0, sha256=video)
    manifest = dict(format=1, run_id=run.name, video=video, stages=[stage])
    (run / "manifest.json").write_text(json.dumps(manifest, indent=2))


class Faces:
    """Vectors of pictures and of their copies: numbers of the person and of the picture, whether it is a copy, logarithm of
    the raw norm, and unit vector."""

    def __init__(self, person, picture, is_copy, norm, vectors):
        self.person, self.picture, self.is_copy, self.q, self.vectors = person, picture, is_copy, np.log(norm), vectors

    def of(self, rows):
        return Faces(*(x[rows] for x in [self.person, self.picture, self.is_copy, np.exp(self.q), self.vectors]))

    def likeness(self, v):
        """Scalar product of each of `v` with the mean of the person's other pictures that are no copies; nan without one."""
        clean = ~self.is_copy
        place = np.unique(self.person, return_inverse=True)[1]
        sums, counts = np.zeros((place.max() + 1, v.shape[1])), np.bincount(place[clean], minlength=place.max() + 1)
        np.add.at(sums, place[clean], v[clean])
        own = np.zeros((self.picture.max() + 1, v.shape[1]))
        own[self.picture[clean]] = v[clean]
        others = counts[place] - np.isin(self.picture, self.picture[clean])
        products = np.einsum("ij,ij->i", v, sums[place] - own[self.picture])
        return np.divide(products, others, out=np.full(len(v), np.nan), where=others > 0)


def read_vectors(faces, run, name):
    table = pq.read_table(run / "embeddings.parquet")
    footer = json.loads(table.schema.metadata[b"facetrack"])
    dim = next(embedder["dim"] for embedder in footer["embedders"] if embedder["name"] == name)
    table = table.filter(pc.equal(table["embedder"].cast("string"), name))
    vectors = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    vectors = vectors.reshape(len(table), -1)[:, :dim].astype(np.float64)
    norm, picture, frame = (table[column].to_numpy() for column in ["norm", "track_id", "frame_idx"])
    person = pq.read_table(faces, columns=["person"])["person"].to_numpy()[picture]
    usable = norm > 0
    return Faces(person[usable], picture[usable], frame[usable] > 0, norm[usable].astype(np.float64), vectors[usable])


def fitted(faces, norms, centre):
    """The quality table of single pictures, but for the number of components."""
    terms = np.column_stack([np.ones(len(faces.q)), faces.q - np.log(centre)])
    mean, slope = np.linalg.lstsq(terms, faces.vectors, rcond=None)[0]
    v = faces.vectors - terms @ [mean, slope]
    likeness = faces.likeness(v)
    known = ~np.isnan(likeness)
    person_variance = likeness[known & ~faces.is_copy].mean()
    kernel = np.exp(-(((np.log(norms)[:, None] - faces.q[known]) / WIDTH) ** 2) / 2)
    at_knots = lambda values: kernel @ values[known] / kernel.sum(1)
    gain = np.maximum(at_knots(likeness) / person_variance, MIN_GAIN)
    noise = at_knots((v**2).sum(1)) - gain**2 * person_variance
    return dict(mean=mean, slope=slope, gain=gain, noise=noise, person_variance=person_variance)


def ratios(faces, table, norms, centre):
    """Log likelihood ratio per component of every pair of pictures, and whether both show one person."""
    gain, noise = (np.interp(faces.q, np.log(norms), table[name]) for name in ["gain", "noise"])
    v = faces.vectors - table["mean"] - np.outer(faces.q - np.log(centre), table["slope"])
    precision = FACTOR * gain**2 / noise
    sums = (precision / gain)[:, None] * v
    products = sums @ sums.T
    squares = np.diag(products)
    evidence = lambda squares, precision: (
        table["person_variance"] * squares / (1 + table["person_variance"] * precision)
        - np.log1p(table["person_variance"] * precision)
    ) / 2
    own = evidence(squares, precision)
    joined = evidence(squares[:, None] + squares + 2 * products, precision[:, None] + precision)
    same = faces.person[:, None] == faces.person
    pairs = np.triu(faces.picture[:, None] != faces.picture)
    return (joined - own[:, None] - own)[pairs], same[pairs]


def cost(ratio, same):
    """Cllr, bits: 0 for a perfect judge, 1 for one that knows nothing."""
    return (np.logaddexp(0, -ratio[same]).mean() + np.logaddexp(0, ratio[~same]).mean()) / np.log(4)


def left_out(faces, norms, centre):
    """The ratios of pairs of people who are left out of the fit."""
    people = np.random.default_rng(SEED).permutation(np.unique(faces.person))
    part = np.empty(people.max() + 1, int)
    part[people] = np.arange(len(people)) % PARTS
    part, found = part[faces.person], []
    for i in range(PARTS):
        found.append(ratios(faces.of(part == i), fitted(faces.of(part != i), norms, centre), norms, centre))
    return tuple(np.concatenate(x) for x in zip(*found))


def components(ratio, same, dim):
    """Number of components of the lowest cost, and this cost."""
    found = minimize_scalar(lambda n: cost(n * ratio, same), bounds=(1, dim), method="bounded", options=dict(xatol=0.5))
    return int(found.x), found.fun


def of_tracks(table, odds):
    """The table with the odds of reliability `gain^2 person / noise` times `odds`, their sum the same."""
    person = table["gain"] ** 2 * table["person_variance"]
    total = person + table["noise"]
    share = odds * person / (odds * person + table["noise"])
    gain = np.sqrt(share * total / table["person_variance"])
    return table | dict(gain=gain, noise=(1 - share) * total)


def write_table(path, table):
    lines = []
    for name in FIELDS:
        value = np.round(table[name], 4 if name in ["mean", "slope"] else 3).tolist()
        text = json.dumps(value)
        if name in ["mean", "slope"]:
            text = "[\n" + textwrap.fill(text[1:-1], 116, initial_indent="    ", subsequent_indent="    ") + "\n  ]"
        lines.append(f'  "{name}": {text}')
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def fit(source, run, name, path, track_odds):
    faces = read_vectors(source, run, name)
    norm, dim = np.exp(faces.q), faces.vectors.shape[1]
    centre = float(f"{np.median(norm):.2g}")
    norms = np.array([float(f"{n:.3g}") for n in np.geomspace(*np.quantile(norm, SPAN), KNOTS)])
    pictures, people = len(np.unique(faces.picture)), len(np.unique(faces.person))
    print(f"{name}: {pictures} pictures of {people} people; norms {np.quantile(norm, [0, 0.01, 0.5, 0.99, 1]).round(2)}")
    ratio, same = left_out(faces, norms, centre)
    best, least = components(ratio, same, dim)
    print(f"{same.sum()} pairs of one person, {(~same).sum()} of two: Cllr {least:.3f} with {best} components")
    print(", ".join(f"{cost(n * ratio, same):.3f} with {n}" for n in [dim // 8, dim // 4, dim // 2, dim]))
    alike = Faces(faces.person, faces.picture, faces.is_copy, np.full(len(norm), centre), faces.vectors)
    print("without the norm: Cllr {1:.3f} with {0}".format(*components(*left_out(alike, [centre], centre), dim)))
    table = of_tracks(fitted(faces, norms, centre), track_odds)
    write_table(path, dict(centre_norm=centre, norms=norms, evidence_dim=best) | table)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(required=True, dest="step")
    for step in ["crops", "table"]:
        step = steps.add_parser(step)
        step.add_argument("faces", type=pathlib.Path)
        step.add_argument("run", type=pathlib.Path)
    step.add_argument("name")
    step.add_argument("table", type=pathlib.Path)
    step.add_argument("--track-odds", type=float, default=1.0, help="odds of a track by those of one of its pictures")
    given = parser.parse_args()
    if given.step == "crops":
        write_crops(given.faces, given.run)
    else:
        fit(given.faces, given.run, given.name, given.table, given.track_odds)


if __name__ == "__main__":
    main()
