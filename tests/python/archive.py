"""Runs the recipes of engines/ on a Slurm cluster of two nodes, kills stages, nodes and the controller, and compares every
file with that of a plain run.

    archive.py FOLDER ENGINES FACETRACK WEIGHTS CLIP

`cargo xtask archive` starts this script as root, as the first process of namespaces of its own (mount, network, process
numbers, host name): both nodes are this machine, no job has a network, and nothing outlives the script. FOLDER is
empty. FACETRACK is the program, WEIGHTS the folder of the weights, CLIP the video that is cut into short ones. Snakemake is
beside this Python. Complaints go to standard error, the exit code is 1.
"""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

VIDEOS = 6
SECS = 4  # length of a video
PATIENCE = 120  # seconds until something that should happen is a failure
NODES = {"n1": 17001, "n2": 17002}  # ports

# Each node offers one processor, so that a job runs on each. `cred_expire`: Slurm starts a job of a dead node again only
# after the credential of the job has expired, by default after two minutes.
CONF = """
ClusterName=archive
SlurmctldHost=archive(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2
ReturnToService=2
SlurmdParameters=config_overrides
SlurmdTimeout=6
KillWait=2
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.%n.pid
StateSaveLocation=/run/slurmctld
SlurmdSpoolDir=/run/slurmd.%n
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def check(condition, complaint):
    if not condition:
        sys.exit(complaint)


def say(text):
    print(f"{time.monotonic() - STARTED:5.1f} s  {text}", flush=True)


def run(*command, **options):
    """Standard output of a program that must succeed."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, **options)
    check(done.returncode == 0, f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stdout}")
    return done.stdout


def until(what, found):
    """The first true value of `found`."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.02)
    sys.exit(f"waited in vain until {what}")


class Processes:
    """What runs at this moment: arguments and parent by number; processes that have ended do not count."""

    def __init__(self):
        self.words, self.parent = {}, {}
        for entry in Path("/proc").iterdir():
            try:
                number = int(entry.name)
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                words = (entry / "cmdline").read_text().split("\0")
            except (OSError, ValueError):
                continue
            if state != "Z":
                self.words[number], self.parent[number] = words, int(parent)

    def below(self, roots):
        """The roots, and all processes that they started."""
        found = set(roots)
        while more := {child for child, parent in self.parent.items() if parent in found} - found:
            found |= more
        return found

    def stages(self, name=""):
        """Stages of facetrack that run."""
        return [number for number, words in self.words.items() if words[1:2] == ["stage"] and name in words[2:3] + [""]]


class Cluster:
    """Two nodes of Slurm on this machine."""

    def __init__(self, folder):
        with socket.socket() as any_socket:
            set_interface = lambda request, name, value: fcntl.ioctl(any_socket, request, struct.pack("16s24s", name, value))
            set_interface(0x8914, b"lo", struct.pack("H", 0x41))  # SIOCSIFFLAGS: IFF_UP, IFF_RUNNING
            # With 127.0.0.1 alone, `getaddrinfo` as Slurm calls it resolves nothing.
            address = socket.inet_aton("10.0.0.1")
            set_interface(0x8916, b"lo:1", struct.pack("HH4s", socket.AF_INET, 0, address))  # SIOCSIFADDR
        socket.sethostname("archive")
        (folder / "hosts").write_text("127.0.0.1 localhost archive\n")
        run("mount", "--bind", folder / "hosts", "/etc/hosts")
        for place in ["/run", "/etc/slurm"]:
            run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", place)
        nodes = [
            f"NodeName={name} NodeHostname=archive NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=8000"
            for name, port in NODES.items()
        ]
        Path("/etc/slurm/slurm.conf").write_text(CONF.format(folder=folder, nodes="\n".join(nodes)))
        for place in ["/run/munge", "/run/slurmctld"]:
            Path(place).mkdir(mode=0o755)
        key = Path("/run/munge/key")
        key.touch(mode=0o400)
        key.write_bytes(os.urandom(1024))
        run("munged", "--force", f"--key-file={key}", "--seed-file=/run/munge/seed", f"--log-file={folder / 'munged.log'}")
        run("slurmctld")
        for name in NODES:
            run("slurmd", "-N", name)
        until("the nodes are idle", lambda: self.nodes() == {name: "idle" for name in NODES})

    def nodes(self):
        return dict(line.split() for line in run("sinfo", "-h", "-N", "-o", "%N %t").splitlines())

    def kill_node(self, name):
        """Ends a node while a stage runs there, with everything that it started."""

        def victims():
            job = run("squeue", "-h", "-w", name, "-t", "R", "-o", "%A").split()
            if not job:
                return None
            now = Processes()
            steps = [
                number for number, words in now.words.items() if words[0].startswith(f"slurmstepd: [{job[0]}.")
            ]
            all_below = now.below(steps)
            return all_below if all_below & set(now.stages()) else None

        doomed = until(f"a stage runs on {name}", victims)
        daemon = [number for number, words in Processes().words.items() if words[:3] == ["slurmd", "-N", name]]
        for number in daemon + sorted(doomed):
            kill(number)
        say(f"node {name} is dead, with {len(doomed)} processes of its job")

    def revive(self, name):
        until(f"{name} is down", lambda: self.nodes()[name].startswith("down"))
        run("slurmd", "-N", name)


def kill(number):
    try:
        os.kill(number, signal.SIGKILL)
    except ProcessLookupError:
        pass


def kill_stage(name):
    def met():
        running = Processes().stages(name)
        if running:
            kill(running[0])
        return running

    until(f"{name} runs", met)
    say(f"{name} is killed")


def plain(folder, videos, weights):
    """The runs and the gallery without an engine."""
    for name, video in videos.items():
        run("facetrack", "run", video, "--run-dir", folder / name, "--weights-dir", weights, "--quiet")
    runs = "".join(f"{folder / name}\n" for name in videos)
    run("facetrack", "library", "build", "--library", folder / "library", "--runs-from", "-", input=runs)


def snakemake(folder, engines, table, weights, cluster):
    """The Snakefile, as engines/README.md says; a stage, a node and then Snakemake itself are killed."""
    command = [Path(sys.executable).with_name("snakemake"), "-s", engines / "Snakefile"]
    command += "--executor slurm --slurm-status-command squeue --slurm-no-account -j 8 --rerun-incomplete".split()
    command += "--keep-going --latency-wait 10 --default-resources slurm_partition=main".split()
    # For hours of video, the usual pauses between looks at the queue do not matter.
    command += "--slurm-init-seconds-before-status-checks 1 --seconds-between-status-checks 1".split()
    command += ["--config", f"videos={table}", f"out={folder}", f"weights={weights}"]
    command = [str(word) for word in command]
    with open(folder.with_suffix(".log"), "w") as log:
        options = dict(cwd=folder.parent, stdout=log, stderr=subprocess.STDOUT)
        controller = subprocess.Popen(command, start_new_session=True, **options)
        kill_stage("detect-track")
        cluster.kill_node("n2")
        cluster.revive("n2")
        os.killpg(controller.pid, signal.SIGKILL)
        controller.wait()
        say("the controller is killed")
        check(not (folder / "library.json").exists(), "the controller was killed too late")
        for more in ["--unlock"], []:
            done = subprocess.run(command + more, **options).returncode
            check(done == 0, f"snakemake {more} ended with {done}: see {log.name}")


def array(folder, engines, table, weights, cluster):
    """The recipe for Slurm alone; a stage and a node are killed."""
    environment = dict(os.environ, VIDEOS=str(table), OUT=str(folder), WEIGHTS=str(weights))
    options = dict(cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    submitted = subprocess.Popen([str(engines / "slurm/submit.sh"), "--wait"], **options)
    kill_stage("detect-track")
    cluster.kill_node("n1")
    cluster.revive("n1")
    done = submitted.wait(timeout=PATIENCE)
    check(done == 0, f"submit.sh ended with {done}: see facetrack-library.log")


def content(path):
    """Hash of a file; of a manifest without the times that stages took."""
    data = path.read_bytes()
    if path.name == "manifest.json":
        manifest = json.loads(data)
        for stage in manifest["stages"]:
            del stage["duration_secs"]
        data = json.dumps(manifest).encode()
    return hashlib.sha256(data).hexdigest()


def results(folder, names):
    """Every file of the runs and of the gallery, apart from locks and logs."""
    found = {}
    for name in names:
        for path in (folder / name).rglob("*"):
            if path.is_file() and path.name != ".lock" and path.parent.name != "logs":
                found[str(path.relative_to(folder))] = content(path)
    return found


def compare(expected, folder, names):
    found = results(folder, names)
    differences = sorted(
        name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
    )
    check(not differences, f"{folder.name} differs from the plain run in {', '.join(differences)}")
    tables = sum(name.endswith(".parquet") for name in found)
    say(f"{folder.name}: all {len(found)} files, {tables} of them tables, equal those of the plain run")


def main(folder, engines, facetrack, weights, clip):
    (folder / "bin").mkdir()
    shutil.copy(facetrack, folder / "bin/facetrack")
    os.environ.update(PATH=f"{folder / 'bin'}:{os.environ['PATH']}", HOME=str(folder))
    os.environ.pop("XDG_CACHE_HOME", None)
    videos = {}
    for number in range(VIDEOS):
        videos[f"e{number + 1}"] = video = folder / f"e{number + 1}.mp4"
        cut = ["-ss", number * SECS, "-t", SECS, "-i", clip]
        run("ffmpeg", "-nostdin", "-v", "error", *cut, "-an", "-c:v", "libx264", "-crf", "18", video)
    table = folder / "videos.tsv"
    table.write_text("name\tpath\n" + "".join(f"{name}\t{path}\n" for name, path in videos.items()))
    outs = {name: folder / name for name in ["plain", "snakemake", "array"]}
    for out in outs.values():
        out.mkdir()
    plain(outs["plain"], videos, weights)
    names = [*videos, "library"]
    expected = results(outs["plain"], names)
    check("library/index.html" in expected and "e1/report/index.html" in expected, "the plain run is not whole")
    say("plain run")
    cluster = Cluster(folder)
    say("cluster is up")
    for recipe in snakemake, array:
        recipe(outs[recipe.__name__], engines, table, weights, cluster)
        compare(expected, outs[recipe.__name__], names)


STARTED = time.monotonic()
main(*[Path(argument).resolve() for argument in sys.argv[1:]])
