"""An archive with Ray: one task for each video, then one gallery of all people.

    python ray_archive.py videos.tsv runs [WEIGHTS_DIR]     # videos.tsv: columns name and path, tab-separated

The folder of the runs must be shared by the nodes, and `facetrack` must be on the PATH of every node.
"""

import csv
import pathlib
import subprocess
import sys

import ray

FOR_GOOD = (2, 3, 4)  # exit codes: usage, unusable input, contract; another try would be the same


@ray.remote(num_cpus=1, memory=1500 * 2**20, max_retries=3, retry_exceptions=True)
def run(name, path, out, weights):
    stamp = out / "stamps" / f"{name}.json"
    command = ["facetrack", "run", path, "--run-dir", out / name, "--stamp", stamp, "--threads", "1"]
    command += ["--wait", "600", "--quiet", *weights]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, *FOR_GOOD):
        raise RuntimeError(f"{name}: exit code {done.returncode}: {done.stderr[-300:]}")
    return name, done.returncode, done.stderr


def main(videos, out, weights=None):
    out = pathlib.Path(out).absolute()
    (out / "stamps").mkdir(parents=True, exist_ok=True)
    options = ["--weights-dir", weights] if weights else []
    with open(videos, newline="") as table:
        rows = sorted((row["name"], row["path"]) for row in csv.DictReader(table, delimiter="\t"))
    ray.init(address="auto")
    results = ray.get([run.remote(name, path, out, options) for name, path in rows])
    for name, code, message in results:
        if code:
            print(f"{name}: exit code {code}: {message}", file=sys.stderr)
    runs = "".join(f"{out / name}\n" for name, code, _ in results if code == 0)
    build = ["facetrack", "library", "build", "--library", out / "library", "--runs-from", "-", "--wait", "600"]
    subprocess.run(build, input=runs, text=True, check=True)


main(*sys.argv[1:])
