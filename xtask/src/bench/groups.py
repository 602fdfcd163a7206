"""Accuracy by group of faces: how much worse the program is for small, turned, dark or briefly seen faces, and for the
groups of people that the labels name; part of `cargo xtask bench accuracy --by`.

Standard library only. Two figures of labelled faces: `found` is the share that a box of the program meets with an IoU of
at least 0.5; `right` is the share that is found and has the person to whom the program's person belongs, when each
person of the program is given to at most one person of the labels, the most common pairs first. The bootstrap draws
people of clips: faces of one person are no independent samples.
"""
import csv
import json
import random
import subprocess
from collections import Counter, defaultdict

import accuracy

IOU = 0.5
# Upper ends of the groups. Face sizes double; below 40 px, faces of films are extras in the background.
SIZES = [("under 40 px", 40), ("40-80 px", 80), ("80-160 px", 160), ("from 160 px", float("inf"))]
# Distance of the nose from the middle of the eyes, in distances of the eyes: about 0.1 facing the camera, 0.5 where the
# nose is above an eye.
POSES = [("frontal", 0.2), ("half turned", 0.5), ("profile", float("inf"))]
# Mean luma of the box, 0 to 255.
LIGHTS = [("dark", 60), ("medium", 120), ("bright", float("inf"))]
# Time of a person's labels without a gap of a second.
LENGTHS = [("under 1 s", 1), ("1-4 s", 4), ("from 4 s", float("inf"))]
BY = ["size", "pose", "light", "length", "group"]
UNKNOWN = "unknown"
# Pixels of the picture per sample of light, and the longest gap of labels within one appearance, seconds.
LIGHT_STEP = 8
GAP_SECS = 1.0
DRAWS = 1000
# A group of fewer people says nothing about others.
LEAST_PEOPLE = 3


def group_of(value, groups):
    """The name of the first group whose upper end is above a value."""
    return UNKNOWN if value is None else next(name for name, end in groups if value < end)


def turn(points):
    """How far a face is turned, from its landmarks; None without any."""
    if not points:
        return None
    (right, _, _), (left, _, _), (nose, _, _) = (points[i:i + 3] for i in (0, 3, 6))
    apart = abs(left - right)
    return abs(nose - (left + right) / 2) / apart if apart else float("inf")


def lights(video, size, frames):
    """Mean luma of boxes: a function of frame and box, for these frames."""
    width, height = (max(1, side // LIGHT_STEP) for side in size)
    line = ["ffmpeg", "-nostdin", "-v", "error", "-i", video, "-map", "0:v:0", "-fps_mode", "passthrough"]
    line += ["-vf", f"scale={width}:{height}:flags=area,format=gray", "-f", "rawvideo", "-"]
    pictures, number = {}, 0
    with subprocess.Popen(line, stdout=subprocess.PIPE) as ffmpeg:
        while len(picture := ffmpeg.stdout.read(width * height)) == width * height:
            if number in frames:
                pictures[number] = picture
            number += 1

    def light(frame, box):
        picture = pictures.get(frame)
        if picture is None:
            return None
        x, y, w, h = (edge / LIGHT_STEP for edge in box)
        across = range(max(0, int(x)), max(0, min(width, int(x + w) + 1)))
        down = range(max(0, int(y)), max(0, min(height, int(y + h) + 1)))
        values = [picture[row * width + column] for row in down for column in across]
        return sum(values) / len(values) if values else None

    return light


def faces_of(labels):
    """The labelled faces with an identity: frame, box, identity, group."""
    with open(labels, newline="") as file:
        for row in csv.DictReader(file):
            if row["identity"] not in ("", "?", "-", "-1"):
                box = tuple(float(row[edge]) for edge in "xywh")
                yield int(float(row["frame"])), box, row["identity"], row.get("group") or UNKNOWN


def lengths(faces, fps):
    """Length of the appearance that each labelled face belongs to, seconds, by frame and identity."""
    by_person = defaultdict(set)
    for frame, _, identity, _ in faces:
        by_person[identity].add(frame)
    known = {}
    for identity, frames in by_person.items():
        run = []
        for frame in [*sorted(frames), None]:
            if run and (frame is None or frame - run[-1] > GAP_SECS * fps):
                known |= {(at, identity): (run[-1] - run[0] + 1) / fps for at in run}
                run = []
            run.append(frame)
    return known


def judge(program, video, labels, run, clip):
    """Every labelled face of a clip: its person, its group by every criterion, whether it is found and right."""
    shown = subprocess.run(
        [program, "export", "--run-dir", run, "--to", "coco"], check=True, capture_output=True, text=True
    )
    boxes = defaultdict(list)
    for row in json.loads(shown.stdout)["annotations"]:
        boxes[row["image_id"]].append(row)
    width, height, _, fps = accuracy.ffprobe(video)
    faces = list(faces_of(labels))
    light = lights(video, (width, height), {frame for frame, *_ in faces})
    length = lengths(faces, fps)
    met = []
    for frame, box, identity, group in faces:
        best = max(boxes[frame], key=lambda row: accuracy.overlap(row["bbox"], box), default=None)
        met.append(best if best and accuracy.overlap(best["bbox"], box) >= IOU else None)
    votes = Counter(
        (row["cluster_id"], face[2]) for face, row in zip(faces, met) if row and row["cluster_id"] is not None
    )
    owner, taken = {}, set()
    for (cluster, identity), _ in votes.most_common():
        if cluster not in owner and identity not in taken:
            owner[cluster] = identity
            taken.add(identity)
    rows = []
    for (frame, box, identity, group), row in zip(faces, met):
        groups = {
            "size": group_of((box[2] * box[3]) ** 0.5, SIZES),
            "pose": group_of(turn(row and row.get("keypoints")), POSES),
            "light": group_of(light(frame, box), LIGHTS),
            "length": group_of(length[frame, identity], LENGTHS),
            "group": group,
        }
        right = row is not None and owner.get(row["cluster_id"]) == identity
        rows.append({"person": (clip, identity), "groups": groups, "found": row is not None, "right": right})
    return rows


def shares(people):
    """Shares of faces that are found and right, of counts by person: faces, found, right."""
    faces = sum(count[0] for count in people)
    return tuple(sum(count[at] for count in people) / faces for at in (1, 2)) if faces else (None, None)


def draw(people, rng):
    return shares(rng.choices(people, k=len(people)))


def show(rows, by, seed):
    """The table of a criterion, with the gap between the best group and the worst."""
    counts = defaultdict(lambda: defaultdict(lambda: [0, 0, 0]))
    for row in rows:
        # A face that was not found has no landmarks, so that its turn is not known.
        if by == "pose" and not row["found"]:
            continue
        count = counts[row["groups"][by]][row["person"]]
        count[0] += 1
        count[1] += row["found"]
        count[2] += row["right"]
    order = {name: at for groups in (SIZES, POSES, LIGHTS, LENGTHS) for at, (name, _) in enumerate(groups)}
    names = sorted(counts, key=lambda name: (name == UNKNOWN, order.get(name, 0), name))
    rng = random.Random(seed)
    table = [[f"by {by}", "people", "faces", "found", "90 % from", "to", "right", "90 % from", "to"]]
    draws, points = {}, {}
    for name in names:
        people = list(counts[name].values())
        points[name] = shares(people)
        draws[name] = [draw(people, rng) for _ in range(DRAWS)]
        cells = []
        for at in (0, 1):
            ends = sorted(drawn[at] for drawn in draws[name])
            cells += [points[name][at], ends[int(0.05 * DRAWS)], ends[int(0.95 * DRAWS)]]
        faces = sum(count[0] for count in people)
        table.append([name, str(len(people)), str(faces), *map(accuracy.text, cells)])
    compared = [name for name in names if name != UNKNOWN and len(counts[name]) >= LEAST_PEOPLE]
    cells = []
    for at in (0, 1):
        if len(compared) < 2:
            cells += [None] * 3
            continue
        best, worst = (end(compared, key=lambda name: points[name][at]) for end in (max, min))
        gaps = sorted(a[at] - b[at] for a, b in zip(draws[best], draws[worst]))
        cells += [points[best][at] - points[worst][at], gaps[int(0.05 * DRAWS)], gaps[int(0.95 * DRAWS)]]
    note = "" if len(compared) > 1 else f" (fewer than two groups of {LEAST_PEOPLE} people)"
    table.append([f"best less worst{note}", "", "", *map(accuracy.text, cells)])
    print()
    accuracy.table(table, 1)
