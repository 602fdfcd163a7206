"""Whole runs on generated variants of a clip, each compared with the run of the clip itself; called by
`cargo xtask bench soak`.

A variant has a container with a codec, and seeded chances of another rate, pixel aspect, bars, a turn, a hole in its
times, flicker, fields, or a high dynamic range. The script knows which frame of the clip each frame of a variant shows,
when, and where, so boxes and times of the variant's run have known places.
"""
import argparse
import csv
import io
import json
import math
import random
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow.parquet

X264 = ["-c:v", "libx264", "-crf", "14", "-preset", "veryfast"]
X265 = ["-c:v", "libx265", "-crf", "16", "-preset", "ultrafast", "-x265-params", "log-level=error"]
MPEG2 = ["-c:v", "mpeg2video", "-q:v", "3", "-bf", "2"]
MPEG4 = ["-c:v", "mpeg4", "-q:v", "2"]
XVID = [*MPEG4, "-bf", "2", "-vtag", "XVID"]
MJPEG = ["-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p"]
VP9 = ["-c:v", "libvpx-vp9", "-crf", "20", "-b:v", "0", "-deadline", "realtime", "-cpu-used", "8"]
# Ending of the file, then its codecs.
CONTAINERS = {
    "mkv": [X264, X265, MPEG2, MPEG4, MJPEG, VP9, ["-c:v", "ffv1"]],
    "mp4": [X264, X265, MPEG4],
    "mov": [X264, MJPEG, ["-c:v", "prores_ks"]],
    "webm": [VP9, ["-c:v", "libvpx", "-crf", "8", "-b:v", "6M", "-deadline", "realtime", "-cpu-used", "8"]],
    "avi": [XVID, MPEG4, MJPEG],
    "ts": [X264, X265, MPEG2],
    "mts": [[*X264, "-f", "mpegts", "-mpegts_m2ts_mode", "1"]],
    "mpg": [MPEG2], "vob": [MPEG2], "mxf": [MPEG2],
    "flv": [X264, ["-c:v", "flv", "-q:v", "2"]],
    "wmv": [["-c:v", "wmv2", "-q:v", "2"]],
    "dv": [["-c:v", "dvvideo", "-pix_fmt", "yuv420p"]],
}
# Containers with a time for each frame, in which times may jump.
TIMED = {"mkv", "mp4", "mov", "webm"}
RATES = {"24000/1001": 24000 / 1001, "30000/1001": 30000 / 1001, "50": 50.0, "10": 10.0, "3": 3.0, "1": 1.0}
HOLE_SECS = 600.0
DV_RATE = 25  # frames per second of raw DV with 576 lines, which has no times
# Smallest values without a difference: recall and precision of boxes, B³ of people.
LEAST_BOXES, LEAST_PEOPLE = 0.95, 0.98
# Smallest probability of an error in the table `doubts` that counts.
LEAST_DOUBT = 0.05
# Reason for differences that vanish without such tracks.
DOUBTFUL = "only in tracks that one of the runs leaves without a person, or lists as doubtful"
# Differences that follow from what a variant is.
REASONS = {
    "1": "one frame a second: a person who is in no frame, or in one, is not found",
    "3": "three frames a second: short appearances have one frame or none",
}


def number(text):
    return float(text.split("/")[0]) / float(text.split("/")[1]) if "/" in text else float(text)


def probe(video):
    line = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height,r_frame_rate",
            "-of", "csv=p=0", video]
    width, height, rate = subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip().split(",")[:3]
    return int(width), int(height), number(rate)


class Variant:
    """What is done to the clip: arguments of ffmpeg, and where and when each frame ends up."""

    def __init__(self, number, seed, size, n_frames, rate):
        rng = random.Random(f"{seed} {number}")
        self.number, self.properties = number, []
        self.ending = rng.choice(list(CONTAINERS))
        codec = rng.choice(CONTAINERS[self.ending])
        name = codec[1]
        chance = lambda share: rng.random() < share
        filters, after, self.maps = [], [], []
        # Each frame of the variant: the frame of the clip, and its time.
        self.frames = [(n, n / rate) for n in range(n_frames)]
        is_dv = self.ending == "dv"
        wide_codec = name in ("libx264", "libx265", "prores_ks", "ffv1", "libvpx-vp9")

        if chance(0.35) and not is_dv:
            kept = [r for r in RATES if r in ("24000/1001", "30000/1001", "50") or name != "mpeg2video"]
            kept = [r for r in kept if self.ending not in ("mts", "ts", "mxf") or RATES[r] >= 10]
            chosen = rng.choice([*kept, *(["dropped"] if self.ending in TIMED else [])])
            if chosen == "dropped":
                every, at = rng.randint(3, 40), 1
                filters.append(f"select='not(eq(mod(n,{every}),{at}))'")
                after += ["-fps_mode", "vfr"]
                self.frames = [(n, t) for n, t in self.frames if n % every != at]
            else:
                filters.append(f"fps={chosen}")
                self.frames = resampled(n_frames, rate, RATES[chosen])
            self.properties.append(chosen)
        if is_dv and abs(rate - DV_RATE) > 0.01:
            filters.append(f"fps={DV_RATE}")
            self.frames = resampled(n_frames, rate, DV_RATE)

        if chance(0.12) and wide_codec and self.ending in ("mkv", "mp4", "mov", "ts"):
            transfer = rng.choice(["smpte2084", "arib-std-b67"])
            filters.append("setparams=colorspace=smpte170m:color_primaries=bt709:color_trc=bt709:range=tv,"
                           f"zscale=p=bt2020:t={transfer}:m=bt2020nc:npl=203,"
                           f"format={'yuv422p10le' if name == 'prores_ks' else 'yuv420p10le'}")
            after += ["-color_trc", transfer, "-color_primaries", "bt2020", "-colorspace", "bt2020nc"]
            if name == "libvpx-vp9":
                after += ["-profile:v", "2"]
            self.properties.append(transfer)
        elif chance(0.08):
            filters.append("eq=brightness='0.06*sin(2*PI*t*8)':eval=frame")
            self.properties.append("flicker")

        shapes = {"64:45": (720, 576), "4:3": (1440, 1080), "24:11": (352, 576)}
        width, height = size
        if is_dv or chance(0.25):
            aspect = "64:45" if is_dv else rng.choice(list(shapes))
            self.scale(filters, shapes[aspect], (width, height), aspect)
            width, height = shapes[aspect]
        if chance(0.25) and not is_dv:
            kind = rng.choice(["sides", "above", "around"])
            across = 0 if kind == "above" else 2 * rng.randint(width // 24, width // 6)
            down = 0 if kind == "sides" else 2 * rng.randint(height // 24, height // 6)
            filters.append(f"pad=iw+{2 * across}:ih+{2 * down}:{across}:{down}")
            self.maps.append(lambda x, y, across=across, down=down: (x + across, y + down))
            width, height = width + 2 * across, height + 2 * down
            self.properties.append(f"bars {kind}")
        self.joined_at = None
        # The filter `fps` repeats frames up to the end of the clip, also in the first part.
        is_resampled = any(kind in self.properties for kind in RATES)
        if self.ending == "ts" and not after and not is_resampled and chance(0.3):
            self.joined_at = rng.randrange(n_frames // 4, 3 * n_frames // 4)
            self.properties.append("joined")
        turn = rng.choice([90, 180, 270]) if chance(0.12) and not is_dv and name != "mpeg2video" else 0
        if turn:
            self.turn(filters, turn, width, height)
            if turn != 180:
                width, height = height, width
        elif self.ending in ("mp4", "mov") and chance(0.25):
            # Stored as turned to the left, and declared.
            filters.append("transpose=2")
            self.properties.append("declared turn")
        elif chance(0.08):
            filters.append("hflip")
            self.maps.append(lambda x, y, w=width: (w - x, y))
            self.properties.append("mirrored")
        if self.ending in TIMED and not any(p in RATES or p == "dropped" for p in self.properties) and chance(0.15):
            at = rng.randrange(len(self.frames) // 4, 3 * len(self.frames) // 4)
            filters.append(f"setpts='PTS+if(gte(N,{at}),{HOLE_SECS}/TB,0)'")
            after += ["-fps_mode", "vfr", "-enc_time_base", "1/1000"]
            self.frames = [(n, t + (HOLE_SECS if i >= at else 0.0)) for i, (n, t) in enumerate(self.frames)]
            self.properties.append("hole")
        # Fields have whole rows of chroma only in such frames.
        stored_height = width if "declared turn" in self.properties else height
        are_fields = name in ("mpeg2video", "libx264") and self.ending != "flv" and stored_height % 4 == 0
        if are_fields and chance(0.2):
            filters.append("setfield=tff")
            after += ["-flags", "+ildct+ilme"]
            self.properties.append("coded as fields")
        self.name = f"{self.ending} {name}"
        self.size = (width, height)
        self.filters, self.codec = filters, [*codec, *after]

    def make(self, source, video):
        """Makes the video. Returns the messages of ffmpeg, empty if it succeeds."""
        parts = [(video, self.filters, [])]
        if self.joined_at is not None:
            first, last = f"select='lt(n,{self.joined_at})'", f"select='gte(n,{self.joined_at})',setpts=PTS-STARTPTS"
            parts = [(video.with_name(f"{i}.ts"), [select, *self.filters], ["-output_ts_offset", offset])
                     for i, (select, offset) in enumerate([(first, "1000"), (last, "20")])]
        said = ""
        for path, filters, more in parts:
            line = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", source]
            line += ["-vf", ",".join(filters)] if filters else []
            done = subprocess.run([*line, *self.codec, *more, path], capture_output=True, text=True)
            said += done.stderr if done.returncode else ""
        if self.joined_at is not None and not said:
            video.write_bytes(b"".join(path.read_bytes() for path, *_ in parts))
        if "declared turn" in self.properties and not said:
            # Only a copy of the stream keeps a declared turn.
            stored = video.rename(video.with_name(f"stored.{self.ending}"))
            line = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", stored, "-c", "copy", "-metadata:s:v:0", "rotate=270"]
            done = subprocess.run([*line, video], capture_output=True, text=True)
            said = done.stderr if done.returncode else ""
        return said

    def scale(self, filters, shape, size, aspect):
        filters.append(f"scale={shape[0]}:{shape[1]},setsar={aspect.replace(':', '/')}")
        across, down = shape[0] / size[0], shape[1] / size[1]
        self.maps.append(lambda x, y: (x * across, y * down))
        self.properties.append(f"pixels {aspect}")

    def turn(self, filters, degrees, width, height):
        filters.append({90: "transpose=1", 180: "hflip,vflip", 270: "transpose=2"}[degrees])
        self.maps.append({
            90: lambda x, y: (height - y, x), 180: lambda x, y: (width - x, height - y),
            270: lambda x, y: (y, width - x),
        }[degrees])
        self.properties.append(f"turned {degrees}")

    def box(self, box):
        """A box of the clip in the variant: left, top, right, bottom."""
        (left, top), (right, bottom) = box[:2], box[2:]
        for place in self.maps:
            (left, top), (right, bottom) = place(left, top), place(right, bottom)
        return min(left, right), min(top, bottom), max(left, right), max(top, bottom)


def resampled(n_frames, rate, other):
    """What ffmpeg's filter `fps` makes: each frame shows the last frame of the clip whose rounded time has come."""
    begins = [math.floor(n * other / rate + 0.5) for n in range(n_frames)]
    shown = {}
    for n, begin in enumerate(begins):
        shown[begin] = n
    frames, last = [], 0
    for i in range(math.floor(n_frames * other / rate + 0.5)):
        last = shown.get(i, last)
        frames.append((last, i / other))
    return frames


class Doubts:
    """What a run does not claim: `faces`, tracks without a person or perhaps without a face; `people`, these and tracks
    whose person may be wrong."""

    def __init__(self, folder=None):
        self.faces, self.people = set(), set()
        if folder is None:
            return
        table = lambda name: pyarrow.parquet.read_table(folder / f"{name}.parquet").to_pylist()
        members = defaultdict(set)
        for row in table("clusters"):
            members[row["cluster_id"]].add(str(row["track_id"]))
        self.faces |= members[None]
        for row in table("doubts"):
            if row["probability"] < LEAST_DOUBT:
                continue
            is_split = row["kind"] == "split"
            tracks = members[row["other_cluster_id"]] if is_split else {str(row["track_id"])}
            (self.faces if row["kind"] == "not_a_face" else self.people).update(tracks)
        self.people |= self.faces


def run(program, video, folder):
    """The boxes of a run by frame, and its warnings; or no boxes, and its error."""
    line = [program, "run", "--video", video, "--run-dir", folder, "--json"]
    done = subprocess.run(line, capture_output=True, text=True)
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode:
        return None, [f"exit {done.returncode}: {done.stderr.strip()[-200:]}"]
    warnings = [event["message"] for event in events if event.get("event") == "warning"]
    out = subprocess.run([program, "export", "--run-dir", folder, "--to", "csv"], check=True, capture_output=True, text=True)
    boxes = defaultdict(list)
    for row in csv.DictReader(io.StringIO(out.stdout)):
        if int(row["track"]) < 0:
            continue
        x, y, w, h = (float(row[side]) for side in "xywh")
        # A track without a person is like no other one.
        who = row["identity"] if row["identity"] != "?" else f"? {row['track']}"
        boxes[int(row["frame"])].append(
            {"box": (x, y, x + w, y + h), "t": float(row["t_secs"]), "who": who, "track": row["track"]})
    return boxes, warnings


def overlap(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def b_cubed(pairs):
    """B³ F1 of the second label of each pair against the first."""
    both, one, other = Counter(pairs), Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    total = len(pairs)
    recall = sum(n * n / one[a] for (a, _), n in both.items()) / total
    precision = sum(n * n / other[b] for (_, b), n in both.items()) / total
    return 2 * recall * precision / (recall + precision)


def compare(variant, plain, found, doubts=(Doubts(), Doubts())):
    """Figures of a variant's run, and its differences from what the clip's run says it should be. Without the tracks in
    the doubts of the clip's run and of the variant's."""
    expected, extra, missed, late, pairs, tracks = 0, 0, 0, 0.0, [], defaultdict(Counter)
    shown, shown_expected = set(), set()
    for i, (n, t) in enumerate(variant.frames):
        mine = [dict(face, box=variant.box(face["box"])) for face in plain.get(n, [])]
        theirs = list(found.get(i, []))
        late = max([late, *(abs(face["t"] - t) for face in theirs)])
        for face in mine:
            best = max(theirs, key=lambda other: overlap(face["box"], other["box"]), default=None)
            if best is not None and overlap(face["box"], best["box"]) < 0.5:
                best = None
            if best is not None:
                theirs.remove(best)
            if face["track"] in doubts[0].faces or best is not None and best["track"] in doubts[1].faces:
                continue
            expected += 1
            missed += best is None
            if face["track"] in doubts[0].people or best is not None and best["track"] in doubts[1].people:
                continue
            shown_expected.add(face["who"])
            if best is not None:
                shown.add(best["who"])
                pairs.append((face["who"], best["who"]))
                tracks[best["track"]][face["who"]] += 1
        extra += sum(face["track"] not in doubts[1].faces for face in theirs)
        shown |= {face["who"] for face in theirs if face["track"] not in doubts[1].people}
    n_found = expected - missed
    people = lambda names: sum(not name.startswith("?") for name in names)
    figures = {
        "recall": n_found / expected if expected else 1.0,
        "precision": n_found / (n_found + extra) if n_found + extra else 1.0, "late_secs": late,
        "b3": b_cubed(pairs) if pairs else 1.0, "mixed_tracks": sum(len(who) > 1 for who in tracks.values()),
        "people": people(shown), "people_expected": people(shown_expected),
        "frames_after": max(0, max(found, default=0) + 1 - len(variant.frames)),
    }
    differences = [
        text for text, differs in [
            (f"recall {figures['recall']:.3f}", figures["recall"] < LEAST_BOXES),
            (f"precision {figures['precision']:.3f}", figures["precision"] < LEAST_BOXES),
            (f"B³ {figures['b3']:.3f}", figures["b3"] < LEAST_PEOPLE),
            (f"{figures['people']} people for {figures['people_expected']}", figures["people"] != figures["people_expected"]),
            (f"{figures['mixed_tracks']} tracks of two people", figures["mixed_tracks"] > 0),
            (f"times off by {late:.3f} s", late > 0.021),
            (f"{figures['frames_after']} frames too many", figures["frames_after"] > 0),
        ] if differs
    ]
    return figures, differences


def expected_warnings(variant, warnings):
    """Warnings that do not follow from what the variant is."""
    known = {"hole": ["gaps without frames"], "turned": ["the faces are upright in the picture turned by"],
             "joined": ["the clock of the file jumps", "marked as damaged by the container"]}
    known = [text for key, texts in known.items() if any(p.startswith(key) for p in variant.properties) for text in texts]
    return [warning for warning in warnings if not any(words in warning for words in known)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--secs", type=float, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    shutil.rmtree(args.work, ignore_errors=True)
    args.work.mkdir(parents=True)
    width, height, rate = probe(args.video)
    n_frames = math.floor(args.secs * rate + 0.5)
    source = args.work / "clip.mkv"
    cut = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", args.video, "-an", "-frames:v", str(n_frames), "-c:v", "libx264", "-crf", "8", source]
    subprocess.run(cut, check=True)
    plain, warnings = run(args.program, source, args.work / "plain")
    if plain is None:
        sys.exit(f"error: the run of the clip failed: {warnings}")
    doubts = Doubts(args.work / "plain")
    counts, results = Counter(), []
    for number in range(args.first, args.first + args.count):
        variant = Variant(number, args.seed, (width, height), n_frames, rate)
        video, folder = args.work / f"v.{variant.ending}", args.work / "run"
        shutil.rmtree(folder, ignore_errors=True)
        said = variant.make(source, video)
        if said:
            figures, differences, reason = {}, [f"ffmpeg: {said.strip()[-200:]}"], "not made"
        else:
            found, said = run(args.program, video, folder)
            if found is None:
                figures, differences, reason = {}, said, "unexplained"
            else:
                figures, differences = compare(variant, plain, found)
                warned = [f"warning: {text}" for text in expected_warnings(variant, said)]
                differences += warned
                reason = next((REASONS[p] for p in variant.properties if p in REASONS), "unexplained")
                if differences and not warned and not compare(variant, plain, found, (doubts, Doubts(folder)))[1]:
                    reason = DOUBTFUL
        kind = "same" if not differences else reason if reason in ("not made", "unexplained") else "explained"
        counts[kind] += 1
        line = f"{number} {variant.name}{''.join(', ' + p for p in variant.properties)}: "
        print(line + ("same" if not differences else f"{'; '.join(differences)} ({reason})"), flush=True)
        results.append({"number": number, "name": variant.name, "properties": variant.properties,
                        "differences": differences, "reason": reason if differences else None, **figures})
        video.unlink(missing_ok=True)
    print(", ".join(f"{n} {kind}" for kind, n in counts.items()))
    if args.out:
        args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
