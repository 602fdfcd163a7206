"""Accuracy of whole runs on labelled clips and on re-encoded copies of each; called by `cargo xtask bench accuracy`.

Standard library only. A clip is NAME.mp4 or NAME.mkv beside NAME.csv (frame,x,y,w,h,identity[,shot]). Every clip
is run as it is and in seeded copies whose labels are moved with the picture. The bootstrap draws clips, not copies:
copies of one clip are no independent samples.
"""
import argparse
import concurrent.futures
import csv
import json
import os
import random
import subprocess
import sys
from pathlib import Path

# Name, unit in metrics.json, whether the smallest value is the worst.
FIGURES = [
    ("det_precision", "frame", True), ("det_recall", "frame", True), ("track_purity", "frame", True),
    ("track_hota", "frame", True), ("id_f1", "frame", True), ("wcp", "track", True), ("b3_f1", "track", True),
    ("ratio", "video", False),
]
HEADS = ["det P", "det R", "purity", "HOTA", "id F1", "WCP", "B³", "clusters/people"]
COPIES = ["crf16", "crf20", "crf23", "hevc", "mirrored", "bars"]
DRAWS = 2000


def ffprobe(video):
    shown = "stream=width,height"
    line = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", shown, "-of", "csv=p=0", video]
    width, height = subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip().split(",")[:2]
    return int(width), int(height)


def recode(clip, labels, copy, folder, seed):
    """The copy of a clip and its labels, made unless they are there."""
    video, moved = folder / f"{clip.stem}.{copy}.mkv", folder / f"{clip.stem}.{copy}.csv"
    width, _ = ffprobe(clip)
    # Even, so that chroma stays where it is.
    pad = 2 * random.Random(f"{seed} {clip.stem}").randint(width // 24, width // 8)
    x264 = ["-c:v", "libx264", "-crf"]
    encode = {
        "crf16": [*x264, "16"], "crf20": [*x264, "20"], "crf23": [*x264, "23"],
        "hevc": ["-c:v", "libx265", "-crf", "24", "-x265-params", "log-level=error"],
        "mirrored": ["-vf", "hflip", *x264, "18"],
        "bars": ["-vf", f"pad=iw+{2 * pad}:ih:{pad}:0", *x264, "18"],
    }[copy]
    if not video.exists():
        line = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", clip, "-map", "0:v:0", "-fps_mode", "passthrough"]
        unfinished = video.with_suffix(".part.mkv")
        subprocess.run([*line, *encode, "-threads", "2", unfinished], check=True)
        unfinished.replace(video)
    with open(labels, newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if float(row["w"]) > 0:
            x = float(row["x"])
            row["x"] = {"mirrored": width - x - float(row["w"]), "bars": x + pad}.get(copy, x)
    with open(moved, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return video, moved


def judge(program, video, labels, run, options):
    """The figures of a whole run, from the metrics that the program writes."""
    line = [program, "run", video, "--labels", labels, "--run-dir", run, "--quiet", *options]
    done = subprocess.run(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"error: the run on `{video}` failed: {done.stderr.strip()}")
    metrics = {(m["name"], m["unit"]): m["value"] for m in json.loads((run / "report/metrics.json").read_text())}
    value = lambda name: next((v for (n, _), v in metrics.items() if n == name), None)
    return {name: metrics.get((name, unit), value(name)) for name, unit, _ in FIGURES}


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
        copies = [v for k, v in results[clip].items() if k != "original"]
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
    overall("copies", lambda k: k != "original")
    table(rows, 2)


def arguments(parser):
    """What every bench on labelled clips takes."""
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--clips", required=True)
    parser.add_argument("--copies", required=True)
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
    unknown = [c for c in args.copies.split(",") if c and c not in COPIES]
    if unknown:
        sys.exit(f"error: unknown copy `{unknown[0]}`, expected {', '.join(COPIES)}")
    return clips


def jobs(args):
    """Clip, copy, video, labels and run directory of everything that was asked for."""
    for name, (video, labels) in clips_of(args).items():
        for copy in ["original", *filter(None, args.copies.split(","))]:
            yield name, copy, video, labels, args.work / "runs" / f"{name}.{copy}"


def run_job(args, name, copy, video, labels, run):
    """The figures of a clip or copy, and its labels; the copy and what is finished of the run are kept."""
    if copy != "original":
        folder = args.work / "copies"
        folder.mkdir(parents=True, exist_ok=True)
        video, labels = recode(video, labels, copy, folder, args.seed)
    return judge(args.program, video, labels, run, args.options), labels


def main():
    parser = argparse.ArgumentParser()
    arguments(parser)
    parser.add_argument("--before", type=Path)
    args = parser.parse_args()
    results = {}
    todo = list(jobs(args))
    with concurrent.futures.ThreadPoolExecutor(max(1, (os.cpu_count() or 2) // 2)) as pool:
        running = {pool.submit(run_job, args, *job): job for job in todo}
        for done, future in enumerate(concurrent.futures.as_completed(running), 1):
            name, copy, *_ = running[future]
            results.setdefault(name, {})[copy] = future.result()[0]
            print(f"{done} of {len(todo)}: {name} {copy}", file=sys.stderr)
    before = json.loads(args.before.read_text()) if args.before else None
    show(results, before, args.seed)
    if args.out:
        args.out.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
