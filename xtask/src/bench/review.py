"""A simulated user answers the questions of `facetrack review` truthfully; called by `cargo xtask bench review`.

Standard library only. Runs are those of `bench accuracy`. Each is copied; the page's own requests are sent to the
server, one answer after the other, and B³ over tracks is taken after each. The random order is what a user does
without the queue: any two people, or any track and its person, are looked at, and what is wrong is put right.
"""
import argparse
import csv
import http.client
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import accuracy

STEPS = [0, 5, 10, 25]


class Server:
    """`facetrack review` on a run, and a browser that opened its page."""

    def __init__(self, program, run):
        line = [program, "review", run, "--author", "simulated"]
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        host, port, path = re.match(r"http://([^:/]+):(\d+)(/\S*)", self.process.stdout.readline()).groups()
        self.connection = http.client.HTTPConnection(host, int(port))
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        self.cookie = answer.headers["set-cookie"].split(";")[0]
        answer.read()

    def ask(self, method, path, body=None):
        headers = {"cookie": self.cookie, "content-type": "application/json"}
        self.connection.request(method, path, body and json.dumps(body), headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            sys.exit(f"error: the review page answers {answer.status}: {text.decode()}")
        return json.loads(text)

    def act(self, **what):
        return self.ask("POST", "/api/act", what)

    def close(self):
        self.process.kill()
        self.process.wait()


def truth(program, run, labels):
    """The person of each track by its labelled boxes; "?" where that is unknown, "-" where no label overlaps."""
    known = defaultdict(list)
    with open(labels, newline="") as file:
        for row in csv.DictReader(file):
            boxes = known[int(row["frame"])]
            if row["identity"] != "-":
                boxes.append(([float(row[k]) for k in "xywh"], row["identity"]))
    exported = subprocess.run([program, "export", "--run-dir", run, "--to", "csv"],
                              check=True, capture_output=True, text=True).stdout
    votes, tracks = defaultdict(Counter), set()
    for row in csv.DictReader(exported.splitlines()):
        track, frame = int(row["track"]), int(row["frame"])
        tracks.add(track)
        if frame in known:
            box = [float(row[k]) for k in "xywh"]
            best = max(known[frame], key=lambda label: accuracy.overlap(box, label[0]), default=None)
            votes[track][best[1] if best and accuracy.overlap(box, best[0]) >= 0.5 else "-"] += 1
    return {track: votes[track].most_common(1)[0][0] if votes[track] else "?" for track in tracks}


def b_cubed(state, true):
    """F1 over labelled tracks; a track without a person is alone."""
    of = {track: person["id"] for person in state["people"] for track in person["tracks"]}
    items = [(of.get(track, f"alone {track}"), who) for track, who in true.items() if who not in "?-"]
    if not items:
        return None
    return accuracy.b_cubed(items)[2]


def who(tracks, true, secs):
    """The person with most of the time of some tracks."""
    votes = Counter()
    for track in tracks:
        votes[true.get(track, "?")] += secs.get(track, 0) + 1e-6
    votes.pop("?", None)
    return votes.most_common(1)[0][0] if votes else "?"


def answer(question, true, secs):
    sides = [who(side["tracks"], true, secs) for side in question["sides"]]
    if question["kind"] == "face":
        return "not_a_face" if sides[0] == "-" else "yes"
    if question["kind"] == "name":
        return "yes" if sides[0] not in "?-" else "unsure"
    if sides[0] == "-" and question["kind"] != "same":
        return "not_a_face"
    if "?" in sides:
        return "unsure"
    return "yes" if sides[0] == sides[1] else "no"


def by_queue(server, true, secs, answers):
    """B³ after each answer to the first question of the queue."""
    state = server.ask("GET", "/api/state")["state"]
    curve = [b_cubed(state, true)]
    while len(curve) <= answers and state["questions"]:
        question = state["questions"][0]
        how = answer(question, true, secs)
        name = who(question["sides"][0]["tracks"], true, secs)
        # Labels may be numbers, which are no names.
        done = server.act(do="answer", question=question["key"], answer=how, name=f"label {name}")
        if done["problem"]:
            done = server.act(do="answer", question=question["key"], answer="unsure")
        state = done["state"]
        # A face that the labels do not name cannot be answered for; a person who knows the film could.
        if how == "unsure":
            continue
        curve.append(b_cubed(state, true))
        # The same name again: the page offers to merge, which is one more answer.
        if done["same_name"] and len(curve) <= answers:
            state = server.act(do="merge", people=done["same_name"])["state"]
            curve.append(b_cubed(state, true))
    return curve + [curve[-1]] * (answers + 1 - len(curve))


def by_chance(server, true, secs, answers, rng):
    """B³ after each look at two people, or at a track and its person, in random order."""
    state = server.ask("GET", "/api/state")["state"]
    curve, seen = [b_cubed(state, true)], set()
    while len(curve) <= answers:
        people = {p["id"]: p["tracks"] for p in state["people"]}
        looks = [(a, b) for a in people for b in people if a < b]
        looks += [(track, None) for tracks in people.values() if len(tracks) > 1 for track in tracks]
        looks += [(track, None) for track in state["unsorted"]]
        looks = [look for look in looks if look not in seen]
        if not looks:
            break
        a, b = look = rng.choice(looks)
        seen.add(look)
        if b is not None:
            same = who(people[a], true, secs) == who(people[b], true, secs) not in "?-"
            state = server.act(do="merge", people=[a, b])["state"] if same else state
        else:
            own = next((p for p, tracks in people.items() if a in tracks), None)
            rest = [t for t in people.get(own, []) if t != a]
            if own is None or who([a], true, secs) != who(rest, true, secs):
                right = [p for p, tracks in people.items() if who(tracks, true, secs) == true.get(a)]
                if right and right[0] != own and true.get(a) not in "?-":
                    state = server.act(do="move", tracks=[a], to=right[0])["state"]
                elif own is not None and true.get(a) != "?":
                    state = server.act(do="split", tracks=[a])["state"]
        curve.append(b_cubed(state, true))
    return curve + [curve[-1]] * (answers + 1 - len(curve))


def reviewed(program, run, labels, answers, seed):
    """The two curves of a run."""
    curves = []
    true = truth(program, run, labels)
    for name in ("queue", "chance"):
        with tempfile.TemporaryDirectory() as folder:
            copied = Path(folder) / "run"
            shutil.copytree(run, copied, ignore=shutil.ignore_patterns("report", "edits.parquet", "edit_anchors.parquet"))
            server = Server(program, copied)
            try:
                secs = {t["id"]: t["to"] - t["from"] for t in server.ask("GET", "/api/run")["tracks"]}
                if name == "queue":
                    curves.append(by_queue(server, true, secs, answers))
                else:
                    curves.append(by_chance(server, true, secs, answers, random.Random(f"{seed} {run.name}")))
            finally:
                server.close()
    return curves


def show(results, answers):
    """B³ by clip: mean and worst over a clip and its copies after some answers, beside the random order."""
    steps = [n for n in STEPS if n <= answers]
    rows = [["clip", "runs", *(f"{n} answers" for n in steps), *(f"worst, {n}" for n in steps[1:]),
             *(f"random, {n}" for n in steps[1:])]]
    groups = {**results, "all": {f"{c} {k}": v for c, runs in results.items() for k, v in runs.items()}}
    for clip, runs in groups.items():
        queue = {n: [q[n] for q, _ in runs.values()] for n in steps}
        chance = {n: [c[n] for _, c in runs.values()] for n in steps}
        rows.append([clip, str(len(runs)), *(accuracy.text(accuracy.mean(queue[n])) for n in steps),
                     *(accuracy.text(min(queue[n])) for n in steps[1:]),
                     *(accuracy.text(accuracy.mean(chance[n])) for n in steps[1:])])
    accuracy.table(rows, 1)


def main():
    parser = argparse.ArgumentParser()
    accuracy.arguments(parser)
    parser.add_argument("--answers", type=int, default=max(STEPS))
    args = parser.parse_args()
    results = defaultdict(dict)
    for job in accuracy.jobs(args):
        clip, copy, *_, run = job
        _, labels = accuracy.run_job(args, *job)
        results[clip][copy] = reviewed(args.program, run, labels, args.answers, args.seed)
        print(f"{clip} {copy}", file=sys.stderr)
    show(results, args.answers)
    if args.out:
        args.out.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
