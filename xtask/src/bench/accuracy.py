"""Accuracy of whole runs on labelled clips and on re-encoded copies of each; called by `cargo xtask bench accuracy`.

Standard library only. A clip is NAME.mp4 or NAME.mkv beside NAME.csv (frame,x,y,w,h,identity[,shot]). Every clip
is run as it is and in seeded copies whose labels are moved with the picture. The bootstrap draws clips, not copies:
copies of one clip are no independent samples. Copies with an unusual picture or time are compared with their clip
only, those that leave frames out with the same frames of it; the means are those of the other copies.
"""
import argparse
import concurrent.futures
import csv
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

# Name, unit in metrics.json, whether the smallest value is the worst.
FIGURES = [
    ("det_precision", "frame", True), ("det_recall", "frame", True), ("track_purity", "frame", True),
    ("track_hota", "frame", True), ("id_f1", "frame", True), ("wcp", "track", True), ("b3_f1", "track", True),
    ("ratio", "video", False),
]
HEADS = ["det P", "det R", "purity", "HOTA", "id F1", "WCP", "B³", "clusters/people"]
COPIES = ["crf16", "crf20", "crf23", "hevc", "mirrored", "bars"]
UNUSUAL = ["window", "flicker", "64:45", "24:11", "rotated90", "rotated180", "1fps", "combed"]
SPARSE = ["1fps", "combed"]  # copies that have some of the frames
DRAWS = 2000


def ffprobe(video):
    """Width, height, pixel aspect and frames per second of a video."""
    shown = "stream=width,height,sample_aspect_ratio,avg_frame_rate"
    line = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", shown, "-of", "csv=p=0", video]
    values = subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip().split(",")
    width, height, aspect, rate = values[:4]
    # A file need not say its pixel aspect.
    pixel = Fraction(aspect.replace(":", "/")) if aspect[:1].isdigit() and aspect[0] != "0" else Fraction(1)
    return int(width), int(height), pixel, float(Fraction(rate))


def even(pixels):
    """A side with a whole number of colour pixels."""
    return 2 * round(pixels / 2)


def recipe(copy, size, pixel, fps, pad):
    """Arguments of ffmpeg for a copy, and the functions that move a frame number and a box (x, y, w, h)."""
    width, height = size
    x264 = lambda crf, *filters: [*(["-vf", ",".join(filters)] if filters else []), "-c:v", "libx264", "-crf", crf]
    clear = lambda *filters: [*x264("12", *filters), "-preset", "veryfast"]
    same = lambda value: value

    def shifted(dx, dy):
        return lambda box: (box[0] + dx, box[1] + dy, box[2], box[3])

    def scaled(across, down):
        # The pixel aspect keeps the picture's shape.
        new = even(width * across), even(height * down)
        x, y = new[0] / width, new[1] / height
        aspect = pixel * Fraction(width * new[1], height * new[0])
        filters = f"scale={new[0]}:{new[1]}", f"setsar={aspect}:max=65535"
        return clear(*filters), same, lambda box: (box[0] * x, box[1] * y, box[2] * x, box[3] * y)

    corner = even((1920 - width) * 15 / 16), even((1080 - height) * 8 / 9)
    # An even number of frames, because some clips have labels on even frames only.
    step = max(2, even(fps))
    return {
        "crf16": lambda: (x264("16"), same, same),
        "crf20": lambda: (x264("20"), same, same),
        "crf23": lambda: (x264("23"), same, same),
        "hevc": lambda: (["-c:v", "libx265", "-crf", "24", "-x265-params", "log-level=error"], same, same),
        "mirrored": lambda: (x264("18", "hflip"), same, lambda box: (width - box[0] - box[2], *box[1:])),
        "bars": lambda: (x264("18", f"pad=iw+{2 * pad}:ih:{pad}:0"), same, shifted(pad, 0)),
        "window": lambda: (clear(f"pad=1920:1080:{corner[0]}:{corner[1]}:gray"), same, shifted(*corner)),
        "flicker": lambda: (clear("eq=brightness='0.06*sin(2*PI*t*8)':eval=frame"), same, same),
        "64:45": lambda: scaled(1.125, 1.6),
        "24:11": lambda: scaled(0.55, 1.2),
        "rotated90": lambda: (
            clear("transpose=clock"), same, lambda box: (height - box[1] - box[3], box[0], box[3], box[2])
        ),
        "rotated180": lambda: (
            clear("hflip", "vflip"), same, lambda box: (width - box[0] - box[2], height - box[1] - box[3], *box[2:])
        ),
        "1fps": lambda: (
            clear(f"select='not(mod(n,{step}))'", "setpts=N/TB"), lambda n: None if n % step else n // step, same
        ),
        # Two frames are the fields of one, and nothing says so.
        "combed": lambda: (
            clear("tpad=stop=1:stop_mode=clone", "tinterlace=interleave_top", "setfield=prog"),
            lambda n: None if n % 2 else n // 2, same
        ),
    }[copy]()


def encoded(clip, video, encode):
    """Encodes a clip with these arguments of ffmpeg, unless the video is there."""
    if not video.exists():
        line = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", clip, "-map", "0:v:0", "-fps_mode", "passthrough"]
        unfinished = video.with_suffix(".part.mkv")
        subprocess.run([*line, *encode, "-threads", "2", unfinished], check=True)
        unfinished.replace(video)


def relabelled(labels, moved, frame, place=None):
    """Writes labels whose frames and boxes are moved; a frame that becomes None is left out."""
    with open(labels, newline="") as file:
        rows = list(csv.DictReader(file))
    with open(moved, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        for row in rows:
            row["frame"] = frame(int(row["frame"]))
            if row["frame"] is None:
                continue
            box = tuple(float(row[edge]) for edge in "xywh") if place else None
            if box and box[2] > 0:
                row.update(zip("xywh", (round(edge, 2) for edge in place(box))))
            writer.writerow(row)


def recode(clip, labels, copy, folder, seed):
    """The copy of a clip and its labels, made unless they are there."""
    name = f"{clip.stem}.{copy.replace(':', '-')}"
    video, moved = folder / f"{name}.mkv", folder / f"{name}.csv"
    width, height, pixel, fps = ffprobe(clip)
    # Even, so that chroma stays where it is.
    pad = 2 * random.Random(f"{seed} {clip.stem}").randint(width // 24, width // 8)
    encode, frame, place = recipe(copy, (width, height), pixel, fps, pad)
    encoded(clip, video, encode)
    relabelled(labels, moved, frame, place)
    return video, moved


def run_videos(program, videos, run, options):
    """A whole run, or one for each of several videos in a folder; a run that fails ends the script."""
    line = [program, "run", *videos, "--run-dir", run, "--quiet", *options]
    done = subprocess.run(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"error: the run on {', '.join(f'`{video}`' for video in videos)} failed: {done.stderr.strip()}")


def judge(program, video, labels, run, options):
    """The figures of a whole run, from the metrics that the program writes."""
    run_videos(program, [video], run, ["--labels", labels, *options])
    metrics = {(m["name"], m["unit"]): m["value"] for m in json.loads((run / "report/metrics.json").read_text())}
    value = lambda name: next((v for (n, _), v in metrics.items() if n == name), None)
    return {name: metrics.get((name, unit), value(name)) for name, unit, _ in FIGURES}


def overlap(a, b):
    """IoU of two boxes (x, y, w, h)."""
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(wide, 0) * max(high, 0)
    return both / (a[2] * a[3] + b[2] * b[3] - both) if both else 0.0


def b_cubed(pairs):
    """B³ precision, recall and F1 of pairs of a found and a true person."""
    both, found, true = Counter(pairs), Counter(f for f, _ in pairs), Counter(t for _, t in pairs)
    precision = sum(n * n / found[f] for (f, _), n in both.items()) / len(pairs)
    recall = sum(n * n / true[t] for (_, t), n in both.items()) / len(pairs)
    return precision, recall, 2 * precision * recall / (precision + recall)


def mean(values):
    values = [v for v in values if v is not None]
    return sum(values) / len(values) if values else None


def worst(values, smallest):
    values = [v for v in values if v is not None]
    return (min(values) if smallest else max(values)) if values else None


def interval(differences, seed):
    """The 90 % bootstrap interval of a mean difference over clips."""
    rng = random.Random(seed)
    means = sorted(mean(rng.choices(differences, k=len(differences))) for _ in range(DRAWS))
    return means[int(0.05 * DRAWS)], means[int(0.95 * DRAWS)]


def text(value):
    return "" if value is None else f"{value:.3f}"


def table(rows, names):
    """Prints rows of text; the first columns are names."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(w) if i < names else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))))


def show(results, before, seed):
    """The table, and paired differences from an earlier one."""
    clips = sorted(results)
    rows = [["clip", "", *HEADS]]
    for clip in clips:
        copies = [v for k, v in results[clip].items() if k in COPIES]
        rows.append([clip, "as it is", *(text(results[clip]["original"][n]) for n, *_ in FIGURES)])
        if copies:
            rows.append(["", "mean of copies", *(text(mean(c[n] for c in copies)) for n, *_ in FIGURES)])
            rows.append(["", "worst copy", *(text(worst((c[n] for c in copies), s)) for n, _, s in FIGURES)])

    def overall(name, kept):
        values = {c: [v for k, v in results[c].items() if kept(k)] for c in clips}
        if not any(values.values()):
            return
        per_clip = {n: [mean(v[n] for v in values[c]) for c in clips] for n, *_ in FIGURES}
        rows.append(["all", f"mean, {name}", *(text(mean(per_clip[n])) for n, *_ in FIGURES)])
        every = [v for c in clips for v in values[c]]
        rows.append(["", f"worst, {name}", *(text(worst((v[n] for v in every), s)) for n, _, s in FIGURES)])
        if not before:
            return
        paired, low, high = ["", "difference"], ["", "90 % interval, from"], ["", "to"]
        for n, *_ in FIGURES:
            both = [(mean(v[n] for k, v in results[c].items() if kept(k)),
                     mean(v[n] for k, v in before[c].items() if kept(k))) for c in clips if c in before]
            differences = [a - b for a, b in both if a is not None and b is not None]
            ends = interval(differences, seed) if differences else (None, None)
            for row, value in zip((paired, low, high), (mean(differences), *ends)):
                row.append("" if value is None else f"{value:+.3f}")
        rows.extend([paired, low, high])

    overall("as it is", lambda k: k == "original")
    overall("copies", lambda k: k in COPIES)
    table(rows, 2)
    show_losses(results)


def show_losses(results):
    """The table of what each copy loses against its clip."""
    copies = [copy for copy in COPIES + UNUSUAL if any(copy in results[clip] for clip in results)]
    rows = [["points lost against the clip itself", "", *copies]]
    for clip in sorted(results):
        for label, figure in (("recall", "det_recall"), ("B³", "b3_f1")):
            ends = [(compared(results[clip], copy)[figure], results[clip].get(copy, {}).get(figure)) for copy in copies]
            points = ["" if None in pair else f"{100 * (pair[0] - pair[1]):+.1f}" for pair in ends]
            rows.append([clip if figure == "det_recall" else "", label, *points])
    if copies:
        print()
        table(rows, 2)


def arguments(parser):
    """What every bench on labelled clips takes."""
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--clips", required=True)
    parser.add_argument("--copies", required=True)
    parser.add_argument("--unusual", action="store_true")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("options", nargs="*", help="passed to every run")


def clips_of(args):
    """The clips that were asked for: name, then video and labels."""
    wanted = [c for c in args.clips.split(",") if c]
    clips = {}
    for labels in sorted(args.data.glob("*.csv")):
        videos = [args.data / f"{labels.stem}{ending}" for ending in (".mp4", ".mkv")]
        video = next((v for v in videos if v.exists()), None)
        if video and (not wanted or labels.stem in wanted):
            clips[labels.stem] = (video, labels)
    unknown = set(wanted) - clips.keys()
    if unknown or not clips:
        sys.exit(f"error: no labelled clip {', '.join(sorted(unknown)) or 'at all'} in `{args.data}`")
    unknown = [copy for copy in copies_of(args) if copy not in COPIES + UNUSUAL]
    if unknown:
        sys.exit(f"error: unknown copy `{unknown[0]}`, expected {', '.join(COPIES + UNUSUAL)}")
    return clips


def copies_of(args):
    """Names of the copies that were asked for."""
    return [copy for copy in args.copies.split(",") if copy] + (UNUSUAL if args.unusual else [])


def jobs(args):
    """Clip, copy, video, labels and run directory of everything that was asked for."""
    for name, (video, labels) in clips_of(args).items():
        for copy in ["original", *copies_of(args)]:
            yield name, copy, video, labels, args.work / "runs" / f"{name}.{copy.replace(':', '-')}"


def run_job(args, name, copy, video, labels, run):
    """The figures of a clip or copy, and its labels; the copy and what is finished of the run are kept."""
    if copy != "original":
        folder = args.work / "copies"
        folder.mkdir(parents=True, exist_ok=True)
        video, labels = recode(video, labels, copy, folder, args.seed)
    return judge(args.program, video, labels, run, args.options), labels


def frames_of(copy):
    """What the figures of a clip in the frames of a copy are stored by."""
    return f"frames of {copy}"


def compared(figures, copy):
    """The figures of a clip that those of a copy are compared with."""
    return figures.get(frames_of(copy), figures["original"])


def judge_same_frames(args, clips, results):
    """Adds the figures of clips in the frames of their copies that leave frames out."""
    for name, copies in results.items():
        video, labels = clips[name]
        width, height, pixel, fps = ffprobe(video)
        for copy in set(copies) & set(SPARSE):
            _, frame, _ = recipe(copy, (width, height), pixel, fps, 0)
            own = args.work / "copies" / f"{name}.original.{copy}.csv"
            relabelled(labels, own, lambda n: None if frame(n) is None else n)
            run = args.work / "runs" / f"{name}.original.{copy}"
            shutil.copytree(args.work / "runs" / f"{name}.original", run, dirs_exist_ok=True)
            copies[frames_of(copy)] = judge(args.program, video, own, run, args.options)


def main():
    parser = argparse.ArgumentParser()
    arguments(parser)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--by", default="")
    args = parser.parse_args()
    results, faces = {}, []
    criteria = [by for by in args.by.split(",") if by]
    import groups
    unknown = set(criteria) - set(groups.BY)
    if unknown:
        sys.exit(f"error: unknown criterion `{sorted(unknown)[0]}`, expected {', '.join(groups.BY)}")
    todo = list(jobs(args))
    with concurrent.futures.ThreadPoolExecutor(max(1, (os.cpu_count() or 2) // 2)) as pool:
        running = {pool.submit(run_job, args, *job): job for job in todo}
        for done, future in enumerate(concurrent.futures.as_completed(running), 1):
            name, copy, video, labels, run = running[future]
            results.setdefault(name, {})[copy] = future.result()[0]
            if criteria and copy == "original":
                faces += groups.judge(args.program, video, labels, run, name)
            print(f"{done} of {len(todo)}: {name} {copy}", file=sys.stderr)
    judge_same_frames(args, clips_of(args), results)
    before = json.loads(args.before.read_text()) if args.before else None
    show(results, before, args.seed)
    for by in criteria:
        groups.show(faces, by, args.seed)
    if args.out:
        args.out.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
