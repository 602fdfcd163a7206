"""Asks `facetrack mcp` with the official client of the Model Context Protocol, and compares the answers with the tables.

    assistant.py PROGRAM PATH RUN...     PATH is the run, or a gallery of the runs

Complaints go to standard error, the exit code is 1.
"""

import asyncio
import json
import sys
from pathlib import Path

import pandas as pd
from mcp import Client, StdioServerParameters


def check(condition, complaint):
    if not condition:
        sys.exit(complaint)


class Tables:
    """The tables of a run; people have their number on the page."""

    def __init__(self, folder, members):
        read = lambda name: pd.read_parquet(Path(folder) / f"{name}.parquet")
        self.video, self.frames = read("videos").iloc[0], read("frames")
        numbers = {c: c + 1 for c in read("identities").cluster_id}
        if members is not None:
            own = members[members.video_id == self.video.video_id]
            numbers = dict(zip(own.cluster_id, own.person_id))
        self.appearances = read("appearances")
        self.appearances["number"] = self.appearances.cluster_id.map(numbers)
        tracks = read("tracks").merge(read("clusters")[["video_id", "track_id", "cluster_id"]], on=["video_id", "track_id"])
        self.tracks = tracks.assign(number=tracks.cluster_id.map(numbers))
        self.end = {f: t + d for f, t, d in zip(self.frames.frame_idx, self.frames.t_secs, self.frames.duration_secs)}


async def ask(client, tool, **arguments):
    result = await client.call_tool(tool, arguments)
    check(not result.is_error, f"{tool} {arguments}: {result.content}")
    value = result.structured_content
    check(json.loads(result.content[0].text) == value, f"{tool}: the text is another answer")
    return value


async def complain(client, tool, expected, **arguments):
    result = await client.call_tool(tool, arguments)
    check(result.is_error, f"{tool} {arguments} was answered")
    text = result.content[0].text
    check(expected in text, f"{tool} {arguments}: {text!r} does not have {expected!r}")


async def session(program, path, runs):
    members = None
    if (Path(path) / "library.json").exists():
        members = pd.concat(map(pd.read_parquet, sorted(Path(path).glob("members/*.parquet"))))
    tables = [Tables(run, members) for run in runs]
    before = {file: file.stat().st_mtime_ns for run in [path, *runs] for file in Path(run).rglob("*")}
    async with Client(StdioServerParameters(command=program, args=["mcp", path])) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        wanted = {"list_videos", "list_people", "who_is_on_screen", "scenes_of_person", "scenes_of_two_people"}
        check(set(tools) == wanted, f"the tools are {sorted(tools)}")
        check(all(tool.annotations.read_only_hint for tool in tools.values()), "a tool says that it writes")

        videos = (await ask(client, "list_videos"))["videos"]
        check([v["file_name"] for v in videos] == [t.video.file_name for t in tables], f"the videos are {videos}")
        people = (await ask(client, "list_people"))["people"]
        numbers = {n for t in tables for n in t.tracks.number.dropna()}
        check({p["number"] for p in people} == numbers, "other people")
        secs = [p["screen_secs"] for p in people]
        check(secs == sorted(secs, reverse=True), f"people are not in order of time on screen: {secs}")

        for person in people[:3]:
            await scenes(client, tables, person)
        await together(client, tables, people[0], people[1])
        for table in tables:
            await on_screen(client, table)

        page = await ask(client, "list_people", offset=1, limit=1)
        check(page["people"] == people[1:2] and page["total"] == len(people), f"a page is {page}")
        await complain(client, "scenes_of_person", "there is no person 'Zoe'".replace("'", '"'), person="Zoe")
        await complain(client, "scenes_of_person", "there is no video", person=people[0]["person"], video_id="0a")
        await complain(client, "who_is_on_screen", "has no argument `when`", t_secs=1, when=2)
        await complain(client, "list_people", "not a whole number", limit=-1)
        if len(tables) > 1:
            await complain(client, "who_is_on_screen", "there are 2 videos", t_secs=1)
        late = float(tables[0].video.duration_secs) + 100
        await complain(client, "who_is_on_screen", "ends at", t_secs=late, video_id=str(tables[0].video.video_id))
    after = {file: file.stat().st_mtime_ns for run in [path, *runs] for file in Path(run).rglob("*")}
    check(before == after, "the server wrote a file")


async def scenes(client, tables, person):
    found = []
    for table in tables:
        own = table.appearances[table.appearances.number == person["number"]]
        found += [(str(row.video_id), row.first_t_secs, table.end[row.last_frame_idx]) for row in own.itertuples()]
    for name in (person["person"], str(person["number"])):
        answer = await ask(client, "scenes_of_person", person=name, limit=1000)
        theirs = [(s["video_id"], s["start_secs"], s["end_secs"]) for s in answer["scenes"]]
        check(answer["total"] == len(found) == person["appearances"], f"{name} has {answer['total']} scenes")
        close = lambda a, b: a[0] == b[0] and abs(a[1] - b[1]) < 2e-3 and abs(a[2] - b[2]) < 2e-3
        check(all(map(close, found, theirs)), f"scenes of {name} are {theirs}, not {found}")


async def together(client, tables, a, b):
    secs = 0.0
    for table in tables:
        frames = lambda number: {
            f
            for t in table.tracks[table.tracks.number == number].itertuples()
            for f in range(t.first_frame_idx, t.last_frame_idx + 1)
        }
        both = frames(a["number"]) & frames(b["number"])
        secs += sum(table.end[f] - table.frames.t_secs[f] for f in both)
    answer = await ask(client, "scenes_of_two_people", person=a["person"], other=b["person"], limit=1000)
    found = sum(scene["end_secs"] - scene["start_secs"] for scene in answer["scenes"])
    check(abs(found - secs) < 2e-3 * (1 + len(answer["scenes"])), f"they are together for {found} s, not {secs}")


async def on_screen(client, table):
    for frame in range(0, len(table.frames), max(1, len(table.frames) // 7)):
        at = float(table.frames.t_secs[frame]) + 1e-4
        rows = table.tracks[(table.tracks.first_frame_idx <= frame) & (frame <= table.tracks.last_frame_idx)]
        answer = await ask(client, "who_is_on_screen", t_secs=at, video_id=str(table.video.video_id))
        found = [person["number"] for person in answer["people"]]
        check(found == sorted(set(rows.number.dropna())), f"at {at} s, {found} are on screen")
        check(answer["faces_without_a_person"] == rows.number.isna().sum(), f"at {at} s, other faces")


if __name__ == "__main__":
    program, path, *runs = sys.argv[1:]
    asyncio.run(session(program, path, runs))
