"use strict";
// The review page of a run. `run` has the data that do not change; `state` has the people after all edits.

const video = $("video"), canvas = $("boxes");
const COLOURS = 8, BOXES_SECS = 10, NEAR_SECS = 1.5, TILES_AT_ONCE = 300;
let run, trackOf = new Map(), personOf = new Map(), doubtOf = new Map();
let chosenTracks = new Set(), byTime = false;

const colour = (id) => person(id)?.is_main && id < COLOURS ? `var(--k${id})` : undefined;

// The server.

const act = (body, done) => send(body, ({ state: next, problem, same_name }) => {
  if (!problem) { chosen.clear(); chosenTracks.clear(); }
  take(next);
  if (problem) complain(problem);
  else if (done) say(done);
  if (same_name) offer(same_name);
});

function take(next) {
  state = next;
  personOf = new Map(state.people.flatMap((p) => p.tracks.map((track) => [track, p.id])));
  doubtOf = new Map(run.tracks.map((track, i) => [track.id, state.doubts[i]]));
  for (const id of [...chosen]) if (!person(id)) chosen.delete(id);
  draw();
}

// The player.

const player = {
  mode: "missing", base: 0, about: null, until: null,
  time() { return this.base + video.currentTime; },
  start() {
    this.mode = run.video.mode;
    $("no-video").hidden = this.mode !== "missing";
    $("no-video").textContent = run.video.problem ?? "";
    for (const id of ["screen", "play", "sound"]) $(id).hidden = this.mode === "missing";
    $("screen").style.aspectRatio = `${run.video.width} / ${run.video.height}`;
    $("screen").style.setProperty("--shape", run.video.width / run.video.height);
    if (this.mode === "direct") video.src = "video";
    video.addEventListener("error", () => this.failed());
    video.addEventListener("timeupdate", () => this.tick());
    for (const name of ["seeked", "loadeddata"]) video.addEventListener(name, () => paint());
    for (const name of ["play", "pause"]) video.addEventListener(name, () => { label(); paint(); });
  },
  // The server converts a video that the browser cannot play.
  failed() {
    const from = this.wanted ?? this.time();
    if (this.mode === "missing") return;
    if (this.mode !== "transcode" && run.video.has_ffmpeg) {
      this.mode = "transcode";
      this.load(from);
      return;
    }
    this.mode = "missing";
    $("screen").hidden = true;
    $("no-video").hidden = false;
    $("no-video").textContent = run.video.has_ffmpeg ? "This video cannot be played." : "This browser does not play this video; install `ffmpeg` and start `facetrack review` again.";
  },
  load(t) {
    // A copied stream begins at a key frame. Without a key frame shortly before `t`, the stream is encoded.
    const key = this.mode === "remux" ? run.video.keys.findLast((key) => key <= t + 0.001) : undefined;
    const isCopied = key !== undefined && t - key < NEAR_SECS;
    this.base = isCopied ? key : t;
    video.src = `video/${isCopied ? "copy" : "encode"}/${this.base.toFixed(4)}`;
  },
  seek(t) {
    this.wanted = t = Math.min(Math.max(t, 0), run.video.duration);
    if (this.mode === "missing") { head(t); return; }
    const at = t - this.base, isThere = (i) => video.buffered.start(i) <= at && at <= video.buffered.end(i);
    if (this.mode === "direct") video.currentTime = t;
    else if ([...Array(video.buffered.length).keys()].some(isThere)) video.currentTime = at;
    else this.load(t);
    head(t);
  },
  // Plays from the time `t`, seconds. `about` is the track or person whose box is highlighted, `until` the time to
  // stop at, or null.
  play(t, about, until = null) {
    this.about = about;
    this.until = until;
    document.body.classList.add("played");
    this.seek(t);
    if (this.mode === "missing") { say(`${clock(t)}: ${run.video.problem ?? "there is no video."}`); return; }
    video.play().catch(() => {});
    if (matchMedia("(max-width: 1099px)").matches) $("screen").scrollIntoView({ block: "nearest" });
  },
  toggle() {
    if (this.mode === "missing") return;
    this.until = null;
    document.body.classList.add("played");
    if (video.paused) video.play().catch(() => {}); else video.pause();
  },
  tick() {
    if (this.until !== null && this.time() >= this.until) { video.pause(); this.until = null; }
    head(this.time());
  },
};

function label() { $("play").firstChild.textContent = video.paused ? "Play " : "Pause "; }

const pieces = new Map();
function boxes(piece) {
  if (!pieces.has(piece)) {
    pieces.set(piece, null);
    get(`api/boxes/${piece}`).then((tracks) => { pieces.set(piece, Object.entries(tracks)); paint(); }, () => pieces.delete(piece));
  }
  return pieces.get(piece) ?? [];
}

let isPainting = false;
function paint() {
  if (isPainting || player.mode === "missing") return;
  isPainting = true;
  requestAnimationFrame(() => {
    isPainting = false;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight], scale = devicePixelRatio || 1;
    if (!width) return;
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
    const pen = canvas.getContext("2d"), t = player.time(), k = (width / run.video.width) * scale;
    pen.clearRect(0, 0, canvas.width, canvas.height);
    const piece = Math.floor(t / BOXES_SECS);
    if (t % BOXES_SECS > BOXES_SECS / 2) boxes(piece + 1);
    for (const [id, rows] of boxes(piece)) {
      const track = Number(id), row = rows.findLast(([at]) => at <= t + 0.005);
      // The boxes of a track end with the track, for example at a cut.
      if (!row || t > trackOf.get(track).to - 0.005) continue;
      const owner = personOf.get(track), isMeant = player.about === `t${track}` || player.about === `p${owner}`;
      const [, x, y, w, hh] = row.map((v) => v * k);
      const hue = colour(owner)?.slice(4, -1);
      pen.strokeStyle = hue ? getComputedStyle(document.documentElement).getPropertyValue(hue) : "#ddd";
      pen.lineWidth = (isMeant ? 4 : 1.5) * scale;
      pen.globalAlpha = isMeant || !player.about ? 1 : 0.55;
      pen.strokeRect(x, y, w, hh);
      if (!isMeant) continue;
      const text = owner === undefined ? "No person" : person(owner).label;
      pen.font = `600 ${14 * scale}px system-ui, sans-serif`;
      pen.fillStyle = "#000c";
      const wide = pen.measureText(text).width + 10 * scale, top = Math.max(y - 22 * scale, 0);
      pen.fillRect(x, top, wide, 20 * scale);
      pen.fillStyle = "#fff";
      pen.fillText(text, x + 5 * scale, top + 15 * scale);
    }
    pen.globalAlpha = 1;
    if (!video.paused) paint();
  });
}

// The timeline.

let zoom = 1;
function head(t) {
  $("clock").textContent = `${clock(t)} / ${clock(run.video.duration)}`;
  const share = run.video.duration ? t / run.video.duration : 0, scroller = $("scroller");
  $("head").style.left = `${100 * share}%`;
  $("ruler").setAttribute("aria-valuenow", t.toFixed(1));
  $("ruler").setAttribute("aria-valuetext", clock(t));
  const x = share * $("rows").clientWidth;
  if (zoom > 1 && (x < scroller.scrollLeft || x > scroller.scrollLeft + scroller.clientWidth)) scroller.scrollLeft = x - scroller.clientWidth / 4;
}

function setZoom(next) {
  const scroller = $("scroller"), middle = (scroller.scrollLeft + scroller.clientWidth / 2) / $("rows").clientWidth;
  zoom = Math.min(Math.max(next, 1), 64);
  $("rows").style.width = `${100 * zoom}%`;
  scroller.scrollLeft = middle * $("rows").clientWidth - scroller.clientWidth / 2;
  $("zoom-out").disabled = zoom === 1;
  rule();
}

// Draws the times and the shots of the visible part of the timeline.
function rule() {
  const scroller = $("scroller"), ruler = $("ruler"), surface = ruler.firstChild, scale = devicePixelRatio || 1;
  const width = scroller.clientWidth, whole = $("rows").clientWidth, left = scroller.scrollLeft;
  if (!width || !run.video.duration) return;
  ruler.style.width = `${width}px`;
  surface.width = width * scale;
  surface.height = 28 * scale;
  const pen = surface.getContext("2d"), style = getComputedStyle(document.documentElement);
  const x = (t) => (t / run.video.duration) * whole - left;
  pen.scale(scale, scale);
  run.shots.forEach(([from, to], i) => {
    if (x(to) < 0 || x(from) > width) return;
    pen.fillStyle = style.getPropertyValue(i % 2 ? "--wash" : "--line");
    pen.fillRect(x(from), 21, Math.max(x(to) - x(from), 0.5), 7);
  });
  const steps = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600];
  const step = steps.find((secs) => (secs / run.video.duration) * whole > 64) ?? 7200;
  pen.fillStyle = style.getPropertyValue("--soft");
  pen.font = "12px system-ui, sans-serif";
  for (let t = Math.max(0, Math.floor((left / whole) * run.video.duration / step) * step); x(t) < width; t += step) pen.fillText(clock(t), x(t) + 3, 14);
}

let drawn = "";
function drawTimeline() {
  // Most answers do not change the bars.
  const now = JSON.stringify(state.people.map((p) => [p.id, p.label, p.is_main, p.tracks]));
  if (now === drawn) return;
  drawn = now;
  const cast = state.people.filter((p) => p.is_main), share = (t) => `${(100 * t) / run.video.duration}%`;
  $("names").replaceChildren(...cast.map((p) => h("span", { title: p.label }, p.label)));
  $("bars").replaceChildren(...cast.map((p) => {
    const spans = p.appearances;
    return h("div", { role: "group", "aria-label": `${p.label}: ${times(spans.length, "appearance", "appearances")}`, "--k": colour(p.id) },
      spans.map(([from, to], i) => {
        const bar = h("button", { type: "button", tabIndex: i ? -1 : 0, title: `${p.label}, ${clock(from)}`, "aria-label": `Play ${p.label}, ${clock(from)} to ${clock(to)}`,
          onclick: () => player.play(from, `p${p.id}`) });
        bar.style.left = share(from);
        bar.style.width = share(to - from);
        return bar;
      }));
  }));
  rule();
}

// Faces.

function picture(face, name) {
  if (face === undefined || face.rank === null) return h("span", { className: "none" }, "no picture");
  return h("img", { src: `face/${face.track}/${face.rank}`, alt: name, loading: "lazy", decoding: "async", draggable: false });
}

// Returns a button with a face that plays the video at the time of the face.
function faceButton(face, name, about, withTime) {
  const track = trackOf.get(face.track);
  const until = about.startsWith("t") ? track.to + 0.3 : null;
  return h("button", { type: "button", className: "face", "aria-label": `Play ${name} at ${clock(face.t)}`,
    onclick: () => player.play(Math.max(track.from, face.t - 1), about, until) }, picture(face, ""), withTime && h("span", { "aria-hidden": "true" }, clock(face.t)));
}

function draggable(element, data) {
  element.draggable = !run.is_read_only;
  element.addEventListener("dragstart", (event) => { event.dataTransfer.setData("text/plain", data()); event.dataTransfer.effectAllowed = "move"; });
  return element;
}

function droppable(element, drop) {
  element.addEventListener("dragover", (event) => { event.preventDefault(); element.classList.add("drop"); });
  element.addEventListener("dragleave", () => element.classList.remove("drop"));
  element.addEventListener("drop", (event) => { event.preventDefault(); element.classList.remove("drop"); drop(event.dataTransfer.getData("text/plain")); });
  return element;
}

// Home.

function who(p) {
  const face = p.faces[0] ?? { track: p.tracks[0], rank: null, t: trackOf.get(p.tracks[0]).from };
  const box = h("input", { type: "checkbox", checked: chosen.has(p.id), "aria-label": `Select ${p.label}`, "data-focus": `c${p.id}`, onchange: () => choose(p.id) });
  const card = h("article", { className: chosen.has(p.id) ? "who chosen" : "who", "aria-label": p.label, "data-person": p.id, "--k": colour(p.id) },
    h("label", {}, box), p.is_locked && h("span", { className: "lock" }, "locked"),
    faceButton(face, p.label, `p${p.id}`, false),
    h("div", { className: "facts" },
      h("button", { type: "button", className: "plain", "data-focus": `p${p.id}`, title: p.label, onclick: () => open(p.id) }, p.label),
      h("small", {}, length(p.secs), h("span", { className: "more" }, ` · ${times(p.tracks.length, "track", "tracks")}`))));
  card.querySelector(".face").dataset.focus = `f${p.id}`;
  draggable(card, () => `p${p.id}`);
  return droppable(card, (data) => {
    const other = Number(data.slice(1));
    if (data[0] === "p" && other !== p.id) merge([p.id, other]);
  });
}

function drawHome() {
  const main = state.people.filter((p) => p.is_main), minor = state.people.filter((p) => !p.is_main);
  $("count").textContent = state.people.length ? [`${main.length} main`, minor.length && `${minor.length} minor`].filter(Boolean).join(", ") : "No people were found";
  $("main-cast").replaceChildren(...main.map(who));
  $("minor").hidden = !minor.length;
  $("minor").querySelector("summary").textContent = times(minor.length, "minor person", "minor people");
  const folded = $("minor").querySelector("div");
  folded.replaceChildren(...($("minor").open ? minor.map(who) : []));
  const link = (id, list, text) => list.length > 0 && h("button", { type: "button", className: "plain", onclick: () => open(id) }, text);
  $("others").replaceChildren(...[
    link("unsorted", state.unsorted, `${times(state.unsorted.length, "track", "tracks")} without a person`),
    link("no-faces", state.not_faces, `${times(state.not_faces.length, "track", "tracks")} that show no face`),
    state.refused.length > 0 && h("button", { type: "button", className: "plain", onclick: refused }, `${times(state.refused.length, "correction is", "corrections are")} not applied`),
  ].filter(Boolean));
  drawChosen();
}

function drawChosen() {
  $("chosen").hidden = !chosen.size;
  $("n-chosen").textContent = `${chosen.size} selected`;
  $("merge").disabled = chosen.size < 2 || run.is_read_only;
}

function choose(id) {
  if (!chosen.delete(id)) chosen.add(id);
  const card = document.querySelector(`.who[data-person="${id}"]`);
  card?.classList.toggle("chosen", chosen.has(id));
  const box = card?.querySelector("input");
  if (box) box.checked = chosen.has(id);
  drawChosen();
}

function merge(ids) {
  // A person with a name is the first and keeps the number; otherwise the person who is seen most.
  const order = ids.map(person).sort((a, b) => (b.name !== null) - (a.name !== null) || b.secs - a.secs);
  act({ do: "merge", people: order.map((p) => p.id) }, `Merged into one person: ${order.map((p) => p.label).join(" and ")}. Press z to undo.`);
}

// The queue.

const ASKED = {
  same: () => "Same person?",
  join: (q) => `Does this track show ${q.sides[1].label}?`,
  belongs: (q) => `Is this track correctly assigned to ${q.sides[1].label}?`,
  face: () => "Is this a face?",
  name: () => "Who is this?",
};
const ANSWERS = {
  same: [["y", "Yes, one person", "yes"], ["n", "No, two people", "no"], ["u", "Unsure", "unsure"]],
  join: [["y", "Yes", "yes"], ["n", "No", "no"], ["x", "Not a face", "not_a_face"], ["u", "Unsure", "unsure"]],
  belongs: [["y", "Yes", "yes"], ["s", "No, split it off", "no"], ["x", "Not a face", "not_a_face"], ["u", "Unsure", "unsure"]],
  face: [["y", "Yes, a face", "yes"], ["x", "Not a face", "not_a_face"], ["u", "Unsure", "unsure"]],
  name: [["u", "Pass", "unsure"]],
};
const SAID = { yes: "Yes", no: "No", unsure: "Passed", not_a_face: "Not a face" };

function answer(how, name) {
  const question = state.questions[0];
  if (!question || run.is_read_only) return;
  const text = name ? `This is ${name}` : `${ASKED[question.kind](question)} ${SAID[how]}`;
  act({ do: "answer", question: question.key, answer: how, name: name ?? null }, `${text}. Press z to undo.`);
}

function side(s, i, kind) {
  const alone = kind !== "same" && kind !== "name" && i === 0;
  const about = alone || s.person === null ? `t${s.tracks[0]}` : `p${s.person}`;
  const title = alone ? "This track" : s.label;
  return h("section", { className: "side", "aria-label": title },
    h("h3", {}, title, h("small", {}, `${length(s.secs)} on screen, ${times(s.tracks.length, "track", "tracks")}, from ${clock(Math.min(...s.tracks.map((id) => trackOf.get(id).from)))}`)),
    h("div", { className: "strip" }, s.faces.length ? s.faces.map((face) => faceButton(face, title, about, true)) : h("p", { className: "soft" }, "The run has no picture of this face.")));
}

function drawQueue() {
  const question = state.questions[0], total = state.answered + state.left;
  const progress = [
    h("p", { className: "progress soft" },
      h("span", {}, state.left ? `${state.answered} of about ${total}` : `${state.answered} answered`),
      h("span", {}, `${state.settled} % of screen time settled`)),
    h("progress", { max: 100, value: state.settled, "aria-label": "Screen time settled, percent" }),
  ];
  if (!question) {
    $("queue").replaceChildren(...progress, h("div", { className: "card done" }, h("h2", { tabIndex: -1 }, "No open questions"),
      h("p", { className: "soft" }, "Remaining errors are probably short: no track with a larger expected error is left."),
      h("p", {}, h("button", { type: "button", className: "first", onclick: () => go("home") }, "Back to the people"))));
    return;
  }
  const input = question.kind === "name" && h("input", { type: "text", list: "known", name: "name", autocomplete: "off", maxLength: 200, "aria-label": "Name of this person", placeholder: "Name" });
  const form = input && h("form", { className: "name", onsubmit: (event) => { event.preventDefault(); if (input.value.trim()) answer("yes", input.value.trim()); } },
    input, h("button", { className: "first" }, "Save ", h("kbd", {}, "Enter")));
  const buttons = ANSWERS[question.kind].map(([key, text, how], i) =>
    h("button", { type: "button", className: i || input ? "" : "first", disabled: run.is_read_only, onclick: () => answer(how) }, `${text} `, h("kbd", {}, key)));
  const title = h("h2", { tabIndex: -1 }, ASKED[question.kind](question));
  $("queue").replaceChildren(...progress, h("article", { className: "card", "data-key": question.key }, title,
    h("div", { className: "sides" }, question.sides.map((s, i) => side(s, i, question.kind))),
    form, h("div", { className: "answers" }, buttons,
      h("button", { type: "button", onclick: playQuestion }, "Play ", h("kbd", {}, "Space")))));
  if (view === "queue" && !$("dialog").open) (input || title).focus({ preventScroll: true });
  for (const next of state.questions.slice(1)) for (const s of next.sides) for (const face of s.faces) if (face.rank !== null) new Image().src = `face/${face.track}/${face.rank}`;
}

let played = 0;
function playQuestion() {
  const question = state.questions[0];
  if (!question) return;
  // Each call plays the next face, alternately from both sides.
  const faces = question.sides.flatMap((s, i) => s.faces.slice(0, 3).map((face, j) => ({ face, order: 2 * j + i }))).sort((a, b) => a.order - b.order);
  if (!faces.length) return;
  const { face } = faces[played++ % faces.length], track = trackOf.get(face.track);
  player.play(Math.max(track.from, face.t - 1), `t${face.track}`, track.to + 0.3);
}

// A person and the tracks.

function tracksOf(id) {
  if (id === "unsorted") return state.unsorted;
  if (id === "no-faces") return state.not_faces;
  return person(id)?.tracks ?? [];
}

function open(id) {
  shown = id;
  chosenTracks.clear();
  go("person");
}

function drawPerson() {
  const p = typeof shown === "number" ? person(shown) : null, tracks = [...tracksOf(shown)];
  if (!p && (typeof shown === "number" || !tracks.length)) { go("home"); return; }
  const title = p ? p.label : shown === "unsorted" ? "Without a person" : "No faces";
  if (byTime || !p) tracks.sort((a, b) => trackOf.get(a).from - trackOf.get(b).from);
  else tracks.sort((a, b) => doubtOf.get(b) - doubtOf.get(a) || trackOf.get(a).from - trackOf.get(b).from);
  const tile = (id) => {
    const track = trackOf.get(id), doubt = doubtOf.get(id), name = `Track at ${clock(track.from)}`;
    const box = h("input", { type: "checkbox", checked: chosenTracks.has(id), "aria-label": `Select the track at ${clock(track.from)}`, "data-focus": `k${id}`, onchange: () => chooseTrack(id) });
    return draggable(h("article", { className: chosenTracks.has(id) ? "tile chosen" : "tile", "aria-label": name, "data-track": id },
      h("label", {}, box), faceButton(track.face, "this track", `t${id}`, false),
      h("p", {}, `${clock(track.from)}, ${length(track.to - track.from)}`, p && doubt >= 5 ? h("span", { className: "doubt" }, h("br"), `probability of an error: ${doubt} %`) : null)),
    () => { if (!chosenTracks.has(id)) { chosenTracks.clear(); chosenTracks.add(id); } return "t"; });
  };
  const chips = state.people.filter((other) => other.is_main && other.id !== shown).slice(0, 24).map((other) => droppable(
    h("button", { type: "button", className: "chip", "data-to": other.id, onclick: () => moveTo(other.id) }, other.faces[0] ? picture(other.faces[0], "") : null, other.label),
    (data) => { if (data === "t") moveTo(other.id); }));
  const input = p && h("input", { type: "text", list: "known", value: p.name ?? "", placeholder: "Name", autocomplete: "off", maxLength: 200, "aria-label": "Name", id: "name", disabled: run.is_read_only });
  const button = (text, key, onclick, disabled) => h("button", { type: "button", onclick, disabled: disabled || run.is_read_only }, `${text} `, key && h("kbd", {}, key));
  const none = !chosenTracks.size;
  $("person").replaceChildren(
    h("div", { className: "bar" }, h("h2", { tabIndex: -1 }, title), h("div", {}, h("button", { type: "button", onclick: () => go("home") }, "Back ", h("kbd", {}, "Esc")))),
    ...(p ? [h("div", { className: "top" }, p.faces[0] ? faceButton(p.faces[0], p.label, `p${p.id}`, false) : null,
      h("div", {}, h("p", { className: "soft" }, `${length(p.secs)} on screen, ${times(p.tracks.length, "track", "tracks")}`),
        h("form", { className: "name", onsubmit: (event) => { event.preventDefault(); rename(p.id, input.value); } }, input, h("button", { className: "first", disabled: run.is_read_only }, "Save name")),
        h("div", { className: "answers" }, button(p.is_locked ? "Unlock" : "Lock", "l", () => lock(p.id)))))] : []),
    h("div", { className: "acts", role: "group", "aria-label": "What to do with the selected tracks" },
      h("span", { className: "soft", id: "n-tracks" }, none ? "Select tracks:" : `${chosenTracks.size} selected:`),
      p && button("New person", "s", splitTracks, none || chosenTracks.size === tracks.length),
      button("Move to …", "v", askWhere, none), shown !== "no-faces" && button("Not a face", "x", noFaces, none),
      button("All", "a", () => { tracks.forEach((id) => chosenTracks.add(id)); draw(); }, false),
      p && h("button", { type: "button", "aria-pressed": String(byTime), onclick: () => { byTime = !byTime; draw(); } }, byTime ? "Sorted by time" : "Sorted by probability of an error")),
    h("div", { className: "chips", role: "group", "aria-label": "Drop tracks on a person, or select tracks and press one" }, chips),
    h("div", { className: "tiles" }, tracks.slice(0, TILES_AT_ONCE).map(tile)),
    ...(tracks.length > TILES_AT_ONCE ? [h("p", { className: "soft" }, `${tracks.length - TILES_AT_ONCE} more tracks are not shown. They appear when tracks of this list are moved or marked.`)] : []));
}

function chooseTrack(id) {
  if (!chosenTracks.delete(id)) chosenTracks.add(id);
  draw();
}

function moveTo(id) {
  if (!chosenTracks.size) { say("Select tracks first."); return; }
  act({ do: "move", tracks: [...chosenTracks], to: id }, `${times(chosenTracks.size, "track was", "tracks were")} moved to ${person(id).label}. Press z to undo.`);
}
function splitTracks() { if (chosenTracks.size) act({ do: "split", tracks: [...chosenTracks] }, `${times(chosenTracks.size, "track was", "tracks were")} made a new person. Press z to undo.`); }
function noFaces() { if (chosenTracks.size) act({ do: "not_a_face", tracks: [...chosenTracks] }, "Marked as not a face. Press z to undo."); }
function lock(id) { act({ do: "lock", person: id }, person(id).is_locked ? "Unlocked." : `${person(id).label} is locked: the tracks of this person stay together in all later runs.`); }
function rename(id, name) { act({ do: "name", person: id, name }, name.trim() ? `The person is named ${name.trim()}. Press z to undo.` : "The name was removed. Press z to undo."); }

// Dialogs.

function ask(title, content, buttons) {
  const dialog = $("dialog"), close = () => dialog.close();
  dialog.replaceChildren(h("h2", { id: "asked" }, title), ...content, h("div", { className: "answers" },
    buttons.map(([text, key, does], i) => h("button", { type: "button", className: i ? "" : "first", "data-key": key, onclick: () => { close(); does?.(); } }, `${text} `, key && h("kbd", {}, key)))));
  dialog.setAttribute("aria-labelledby", "asked");
  if (!dialog.open) dialog.showModal();
}

function complain({ message, faces, edit }) {
  const strip = faces.length > 0 && h("div", { className: "strip" }, faces.map((face) => faceButton(face, "this face", `t${face.track}`, true)));
  ask("The correction was refused", [h("p", {}, message), strip].filter(Boolean),
    [["Close", "", null], ...(edit ? [[`Undo correction ${edit}`, "", () => act({ do: "undo", edit }, "The earlier correction was undone.")]] : [])]);
}

function offer(ids) {
  const people = ids.map(person).filter(Boolean);
  if (people.length < 2) return;
  ask(`${people.length} people are called ${people[0].label}`, [h("p", {}, "Are they one person?"), h("div", { className: "strip" }, people.map((p) => p.faces[0] && faceButton(p.faces[0], p.label, `p${p.id}`, true)))],
    [["Yes, merge them", "y", () => merge(ids)], ["No, keep both", "n", null]]);
}

function named(title, verb, does) {
  const input = h("input", { type: "text", list: "known", autocomplete: "off", maxLength: 200, "aria-label": "Name" });
  const form = h("form", { className: "name", onsubmit: (event) => { event.preventDefault(); $("dialog").close(); does(input.value.trim()); } }, input, h("button", { className: "first" }, verb));
  ask(title, [form], [["Cancel", "Esc", null]]);
  $("dialog").querySelector(".answers .first").className = "";
  input.focus();
  return input;
}

function askWhere() {
  if (!chosenTracks.size) { say("Select tracks first."); return; }
  named(`Move ${times(chosenTracks.size, "track", "tracks")} to`, "Move", (text) => {
    const to = state.people.find((p) => p.label.toLowerCase() === text.toLowerCase());
    if (to) moveTo(to.id); else say(`No person has the name \u201c${text}\u201d.`);
  });
}

function askName(id) { named(`Who is ${person(id).label}?`, "Save", (name) => rename(id, name)).value = person(id).name ?? ""; }

function refused() {
  ask("Corrections that are not applied", [h("ul", {}, state.refused.map(([id, why]) => h("li", {}, `Correction ${id}: ${why}.`)))], [["Close", "Esc", null]]);
}

const KEYS = [
  ["q", "questions"], ["h", "people"], ["p", "play or pause"], ["[ ]", "previous shot, next shot"], ["z Z", "undo, redo"], ["y n u", "in a question: yes, no, unsure"],
  ["x", "not a face"], ["s", "in a question or on a person: split off; on People: select the person"], ["Space", "in a question: play its faces in turn"], ["m", "merge the selected people"],
  ["l", "lock or unlock"], ["n", "in a question: no; on People or on a person: name"], ["v", "on a person: move the selected tracks"], ["a", "on a person: select all"],
  ["← →", "previous or next face or bar; on the time axis: one second"], ["Esc", "clear the selection, then back"],
];
function help() { ask("Keys", [h("dl", {}, KEYS.flatMap(([key, text]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)]))], [["Close", "Esc", null]]); }

// Views.

function draw() {
  const focus = document.activeElement?.dataset?.focus;
  $("title").textContent = run.video.name;
  document.title = `${run.video.name} – review`;
  $("left").textContent = state.left ? `(${state.left})` : "";
  $("undo").disabled = !state.undo || run.is_read_only;
  $("undo").title = state.undo ? `Undo: ${state.undo}` : "Nothing to undo";
  $("redo").disabled = !state.redo || run.is_read_only;
  $("known").replaceChildren(...[...new Set(state.people.map((p) => p.label))].map((label) => h("option", { value: label })));
  for (const name of ["home", "queue", "person"]) $(name).hidden = view !== name;
  for (const [id, isOn] of [["to-home", view !== "queue"], ["to-queue", view === "queue"]]) {
    if (isOn) $(id).setAttribute("aria-current", "page"); else $(id).removeAttribute("aria-current");
  }
  document.body.classList.toggle("asking", view === "queue");
  drawTimeline();
  if (view === "home") drawHome();
  if (view === "queue") drawQueue();
  if (view === "person") drawPerson();
  if (focus) document.querySelector(`[data-focus="${focus}"]`)?.focus({ preventScroll: true });
  paint();
}

function go(next) {
  view = next;
  played = 0;
  document.body.classList.remove("played");
  chosenTracks.clear();
  draw();
  if (next === "person") { $("person").querySelector("h2")?.focus({ preventScroll: true }); }
  scrollTo({ top: 0 });
}

// Keys.

function focusedPerson() {
  if (view === "person" && typeof shown === "number") return shown;
  const card = document.activeElement?.closest?.("[data-person]");
  return card ? Number(card.dataset.person) : chosen.size === 1 ? [...chosen][0] : null;
}

// Moves the focus along a row of elements.
function step(elements, by) {
  const at = elements.indexOf(document.activeElement);
  if (at < 0) return false;
  elements[Math.min(Math.max(at + by, 0), elements.length - 1)].focus();
  return true;
}

function stepShot(by) {
  const t = player.time(), now = Math.max(run.shots.findLastIndex(([from]) => from <= t + 0.05), 0);
  const to = run.shots[Math.min(Math.max(now + by, 0), run.shots.length - 1)];
  if (to) player.seek(to[0]);
}

document.addEventListener("keydown", (event) => {
  if (!state || event.ctrlKey || event.metaKey || event.altKey) return;
  const dialog = $("dialog"), isTyping = event.target.matches("input[type=text]"), key = event.key;
  if (dialog.open) {
    const button = isTyping ? null : dialog.querySelector(`button[data-key="${CSS.escape(key)}"]`);
    if (button) { event.preventDefault(); button.click(); }
    return;
  }
  if (isTyping) {
    if (key === "Escape") { event.preventDefault(); event.target.blur(); }
    return;
  }
  const does = () => { event.preventDefault(); return true; };
  if (event.target === $("ruler")) {
    const by = { ArrowRight: 1, ArrowLeft: -1, PageUp: 10, PageDown: -10 }[key];
    if (by) { does(); player.seek(player.time() + by); return; }
  }
  const by = { ArrowRight: 1, ArrowLeft: -1 }[key];
  if (by) {
    const row = event.target.closest("#bars > div, .strip, .cast, .tiles");
    if (row && step([...row.querySelectorAll(row.matches(".cast, .tiles") ? ".face" : "button")], by)) does();
    return;
  }
  if (key === "z") { does(); if (state.undo) act({ do: "undo" }, `Undone: ${state.undo}.`); return; }
  if (key === "Z") { does(); if (state.redo) act({ do: "redo" }, "Done again."); return; }
  if (key === "q") { does(); go("queue"); return; }
  if (key === "h") { does(); go("home"); return; }
  if (key === "?") { does(); help(); return; }
  if (key === "p") { does(); player.toggle(); return; }
  if (key === "[" || key === "]") { does(); stepShot(key === "]" ? 1 : -1); return; }
  if (view === "queue") {
    const question = state.questions[0];
    if (key === "Escape") { does(); go("home"); return; }
    if (key === " " && !event.target.matches("button")) { does(); playQuestion(); return; }
    if (!question) return;
    const found = ANSWERS[question.kind].find(([known, , how]) => known === key || key === "n" && how === (question.kind === "face" ? "not_a_face" : "no"));
    if (found) { does(); answer(found[2]); }
    return;
  }
  const meant = focusedPerson();
  if (key === "l" && meant !== null) { does(); lock(meant); return; }
  if (view === "person") {
    if (key === "Escape") { does(); if (chosenTracks.size) { chosenTracks.clear(); draw(); } else go("home"); return; }
    if (key === "s") { does(); splitTracks(); }
    if (key === "x") { does(); noFaces(); }
    if (key === "v") { does(); askWhere(); }
    if (key === "a") { does(); tracksOf(shown).forEach((id) => chosenTracks.add(id)); draw(); }
    if (key === "n" && $("name")) { does(); $("name").focus(); }
    return;
  }
  if (key === "Escape") { does(); chosen.clear(); draw(); return; }
  if (key === "m" && chosen.size > 1) { does(); merge([...chosen]); return; }
  if (key === "s" && meant !== null) { does(); choose(meant); return; }
  if (key === "n" && meant !== null && !run.is_read_only) { does(); askName(meant); }
});

function listen() {
  $("to-home").onclick = () => go("home");
  $("to-queue").onclick = () => go("queue");
  $("undo").onclick = () => act({ do: "undo" }, `Undone: ${state.undo}.`);
  $("redo").onclick = () => act({ do: "redo" }, "Done again.");
  $("help").onclick = help;
  $("play").onclick = () => player.toggle();
  $("screen").onclick = () => player.toggle();
  $("sound").onclick = () => { video.muted = !video.muted; $("sound").setAttribute("aria-pressed", String(!video.muted)); };
  $("zoom-in").onclick = () => setZoom(zoom * 2);
  $("zoom-out").onclick = () => setZoom(zoom / 2);
  $("merge").onclick = () => merge([...chosen]);
  $("clear").onclick = () => { chosen.clear(); draw(); };
  $("minor").ontoggle = () => drawHome();
  $("scroller").onscroll = rule;
  $("scroller").addEventListener("wheel", (event) => { if (event.ctrlKey) { event.preventDefault(); setZoom(zoom * (event.deltaY < 0 ? 1.25 : 0.8)); } }, { passive: false });
  $("ruler").onclick = (event) => {
    const box = $("rows").getBoundingClientRect();
    player.about = null;
    player.play(((event.clientX - box.left) / box.width) * run.video.duration, null);
  };
  new ResizeObserver(() => { rule(); paint(); }).observe($("scroller"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", rule);
}

async function main() {
  // The token works once. Without the token in the address, the page can be reloaded.
  if (location.search) history.replaceState(null, "", location.pathname);
  run = await get("api/run");
  trackOf = new Map(run.tracks.map((track) => [track.id, track]));
  $("ruler").setAttribute("aria-valuemax", run.video.duration.toFixed(1));
  listen();
  player.start();
  setZoom(1);
  const { state: first, tables } = await get("api/state");
  $("tables").textContent = tables;
  take(first);
  // Many films begin with a black picture, so the player starts at the best face of the person who is seen most.
  const lead = state.people[0]?.faces[0];
  player.about = lead ? `p${state.people[0].id}` : null;
  player.seek(lead?.t ?? 0);
  if (run.is_read_only) say("Read-only: nothing can be changed here.");
  // The page of a gallery links to a person, `#p3`, or to a moment of a person, `#p3t12.5`.
  $("gallery").hidden = location.pathname === "/";
  const meant = location.hash.match(/^#p(\d+)(?:t([\d.]+))?$/);
  if (meant && person(Number(meant[1]))) {
    open(Number(meant[1]));
    if (meant[2]) { player.about = `p${meant[1]}`; player.seek(Number(meant[2])); }
  }
  document.documentElement.dataset.ready = "yes";
  setTimeout(poll, POLL_MS);
}
main().catch((error) => say(error.message));
