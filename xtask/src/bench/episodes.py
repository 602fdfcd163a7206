"""A gallery of labelled clips that are cut into episodes; called by `cargo xtask bench episodes`.

A clip is NAME.mp4 or NAME.mkv beside NAME.csv (frame,x,y,w,h,identity[,shot]) and NAME.shots.csv. It is cut at shots into
parts of about as many shots, each a video with a run of its own. One gallery is built of all runs. B-cubed is over the
tracks of known people: a track counts to the person of the gallery that its cluster has, and people of different clips are
different. Two bounds stand beside it: every cluster a person of its own, and the best that a gallery can do, in which a
person has one cluster of each video. Needs pyarrow.
"""
import argparse
import csv
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow.parquet as pq

import accuracy
from score import clusters_of, labelled, rows, tracked

SAME_FACE = 0.4  # least overlap (IoU) of a box with a labelled one


def parts(shots, n):
    """First frames and ends of the parts of a clip."""
    with open(shots, newline="") as file:
        rows = list(csv.DictReader(file))
    firsts = [int(row["first_frame"]) for row in rows]
    n = min(n, len(firsts))
    cuts = [firsts[len(firsts) * i // n] for i in range(n)] + [int(rows[-1]["end_frame_exclusive"])]
    return list(zip(cuts, cuts[1:]))


def cut(clip, labels, first, end, video, own):
    """Writes a part of a clip and its labels."""
    filters = f"trim=start_frame={first}:end_frame={end},setpts=PTS-STARTPTS"
    accuracy.encoded(clip, video, ["-vf", filters, "-c:v", "libx264", "-crf", "12", "-preset", "veryfast"])
    accuracy.relabelled(labels, own, lambda frame: frame - first if first <= frame < end else None)


def identities(run, labels):
    """The labelled identity of each track that has one."""
    faces, votes = labelled(labels), defaultdict(Counter)
    for frame, box, track in tracked(run):
        best = max(((accuracy.overlap(box, b), name) for b, name in faces[frame]), default=(0, ""))
        if best[0] >= SAME_FACE:
            votes[track][best[1]] += 1
    found = {track: count.most_common(1)[0][0] for track, count in votes.items()}
    return {track: name for track, name in found.items() if name != "?"}


def main():
    parser = argparse.ArgumentParser(prog="cargo xtask bench episodes")
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--parts", type=int, default=3)
    parser.add_argument("--series", action="store_true")
    parser.add_argument("options", nargs="*")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    episodes = []
    for shots in sorted(args.data.glob("*.shots.csv")):
        name = shots.name.removesuffix(".shots.csv")
        clip = next((args.data / f"{name}.{end}" for end in ("mp4", "mkv") if (args.data / f"{name}.{end}").exists()), None)
        if clip is None:
            continue
        videos = []
        for number, (first, end) in enumerate(parts(shots, args.parts)):
            part = args.work / f"{name}.{args.parts}.{number}"
            video, labels, run = (part.with_name(part.name + end) for end in (".mkv", ".csv", ""))
            cut(clip, args.data / f"{name}.csv", first, end, video, labels)
            videos.append(video)
            episodes.append((name, run, labels))
        if args.series and len(videos) > 1:
            gallery = args.work / f"{name}.gallery"
            accuracy.run_videos(args.program, videos, args.work, ["--series", "--library", gallery, *args.options])
        else:
            for video in videos:
                accuracy.run_videos(args.program, [video], video.with_suffix(""), args.options)
    if not episodes:
        sys.exit(f"error: `{args.data}` has no clip with a list of shots")
    library = args.work / "library"
    line = [args.program, "library", "build", "--library", library]
    for _, run, _ in episodes:
        line += ["--run-dir", run]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    members = [row for file in (library / "members").iterdir() for row in pq.read_table(file).to_pylist()]
    person = {(row["video_id"], row["cluster_id"]): row["person_id"] for row in members}
    scored = {"as built": defaultdict(list), "no gallery": defaultdict(list), "best": defaultdict(list)}
    for name, run, labels in episodes:
        video = rows(run, "videos", "video_id")[0]["video_id"]
        clusters = clusters_of(run)
        true = identities(run, labels)
        size = Counter((clusters.get(track), name_) for track, name_ in true.items())
        # The largest cluster of each person, if it shows no other person more often.
        best = {}
        for (cluster, who), _ in size.most_common():
            taken = who in best.values() or cluster in best
            if cluster is not None and not taken and size[cluster, who] == max(n for (c, _), n in size.items() if c == cluster):
                best[cluster] = who
        for track, who in true.items():
            cluster = clusters.get(track)
            own = (video, "track", track) if cluster is None else (video, "cluster", cluster)
            scored["as built"][name].append((person.get((video, cluster), own), (name, who)))
            scored["no gallery"][name].append((own, (name, who)))
            scored["best"][name].append(((name, best[cluster]) if cluster in best else own, (name, who)))
    print(f"{'':14}" + "".join(f"{what + ': P':>16}{'R':>7}{'F1':>7}" for what in scored))
    for name in [*scored["as built"], "all"]:
        cells = ""
        for of in scored.values():
            pairs = of[name] if name != "all" else [pair for some in of.values() for pair in some]
            values = accuracy.b_cubed(pairs) if pairs else (0, 0, 0)
            cells += f"{values[0]:16.3f}{values[1]:7.3f}{values[2]:7.3f}"
        print(f"{name:14}{cells}")


main()
