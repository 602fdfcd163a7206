"use strict";
// The review page of a gallery. `state` has the people of all videos after all corrections.

async function act(body, done) {
  if (busy || state.is_read_only) return;
  say("Saving…");
  await send(body, ({ state: next, problem }) => {
    if (!problem) chosen.clear();
    if (next) take(next);
    say(problem ?? done);
  });
}

function take(next) {
  state = next;
  for (const id of [...chosen]) if (!person(id)) chosen.delete(id);
  draw();
}

function go(to, id = null) {
  view = to;
  shown = id;
  draw();
  scrollTo(0, 0);
  (document.querySelector(`#${to} h2`) ?? document.body).focus({ preventScroll: true });
}

const face = (src, name) => src
  ? h("img", { src, alt: name, loading: "lazy", decoding: "async" })
  : h("span", { className: "none" }, "No picture");

function who(p) {
  const videos = new Set(p.members.map((m) => m.video)).size;
  return h("article", { className: chosen.has(p.id) ? "who chosen" : "who", "data-person": p.id },
    h("label", {}, h("input", { type: "checkbox", checked: chosen.has(p.id), "aria-label": `Select ${p.label}`, onchange: () => choose(p.id) })),
    h("button", { type: "button", className: "face", "aria-label": `Open ${p.label}`, onclick: () => go("person", p.id) }, face(p.face, p.label)),
    h("div", { className: "facts" },
      h("button", { type: "button", className: "plain", onclick: () => go("person", p.id) }, p.label),
      h("small", {}, `${length(p.secs)} in ${times(videos, "video", "videos")}`)));
}

function choose(id) {
  if (!chosen.delete(id)) chosen.add(id);
  drawHome();
  document.querySelector(`.who[data-person="${id}"] input`)?.focus();
}

function drawHome() {
  const main = state.people.filter((p) => p.is_main), minor = state.people.filter((p) => !p.is_main);
  $("count").textContent = state.people.length ? [`${main.length} main`, minor.length && `${minor.length} minor`].filter(Boolean).join(", ") : "No people in this gallery";
  $("main-cast").replaceChildren(...main.map(who));
  $("minor").hidden = !minor.length;
  $("minor").querySelector("summary").textContent = times(minor.length, "minor person", "minor people");
  $("minor").querySelector("div").replaceChildren(...($("minor").open ? minor.map(who) : []));
  $("chosen").hidden = !chosen.size;
  $("n-chosen").textContent = `${chosen.size} selected`;
  for (const id of ["merge", "different"]) $(id).disabled = chosen.size !== 2 || state.is_read_only;
}

function pair(what, done) {
  if (chosen.size !== 2) return;
  // A person with a name is the first and keeps the number; otherwise the person who is seen most.
  const order = [...chosen].map(person).sort((a, b) => (b.name !== null) - (a.name !== null) || b.secs - a.secs);
  act({ do: what, people: order.map((p) => String(p.id)) }, `${order.map((p) => p.label).join(" and ")}: ${done}. Press z to undo.`);
}

function rename(p, name) {
  const same = state.people.find((other) => other.id !== p.id && name && other.name?.toLowerCase() === name.toLowerCase());
  act({ do: "name", person: p.id, name }, name ? `The name is in all videos of the person.` : "The name is gone.").then(() => {
    if (same && person(p.id) && person(same.id)) {
      chosen = new Set([p.id, same.id]);
      go("home");
      say(`Two people are called ${name}. If they are one person, press m.`);
    }
  });
}

function drawPerson() {
  const p = person(shown);
  if (!p) { go("home"); return; }
  const input = h("input", { type: "text", list: "known", value: p.name ?? "", placeholder: "Name", autocomplete: "off", maxLength: 200, "aria-label": "Name", id: "name", disabled: state.is_read_only });
  const row = (m) => {
    const video = state.videos[m.video], address = `run/${video.id}/`;
    const link = (text, hash) => video.is_there ? h("a", { href: address + hash }, text) : text;
    return h("article", { className: "who row" },
      h("span", { className: "face" }, face(m.face, `${p.label} in ${video.run}`)),
      h("div", { className: "facts" },
        h("h3", {}, link(video.run, `#p${m.cluster}`)),
        h("small", {}, `${m.label}, ${length(m.secs)} on screen`),
        h("p", { className: "soft" }, m.times.flatMap(([from], i) => [i ? ", " : "", link(clock(from), `#p${m.cluster}t${from.toFixed(2)}`)])),
        p.members.length > 1 && h("button", { type: "button", disabled: state.is_read_only, onclick: () => act({ do: "different", people: [String(p.id), `${video.id}:${m.cluster + 1}`] }, `Taken out of ${p.label}. Press z to undo.`) }, "Another person")));
  };
  const members = [...p.members].sort((a, b) => b.secs - a.secs);
  $("person").replaceChildren(
    h("div", { className: "bar" }, h("h2", { tabIndex: -1 }, p.label), h("div", {}, h("button", { type: "button", onclick: () => go("home") }, "Back ", h("kbd", {}, "Esc")))),
    h("form", { className: "name", onsubmit: (event) => { event.preventDefault(); rename(p, input.value.trim()); } }, input, h("button", { className: "first", disabled: state.is_read_only }, "Save name")),
    h("div", { className: "rows" }, members.map(row)));
}

function answer(question, is_one) {
  const people = [String(question.is_known ? question.person : question.other), question.own];
  act({ do: is_one ? "same" : "different", people }, `${is_one ? "One person" : "Two people"}. Press z to undo.`);
}

function drawQueue() {
  const question = state.questions[0];
  if (!question) {
    $("queue").replaceChildren(h("div", { className: "card done" }, h("h2", { tabIndex: -1 }, "No open questions"),
      h("p", {}, h("button", { type: "button", className: "first", onclick: () => go("home") }, "Back to the people"))));
    return;
  }
  const other = question.is_known ? question.person_label : question.other_label;
  const side = (src, name) => h("section", { className: "side", "aria-label": name }, h("h3", {}, name), h("div", { className: "strip" }, h("span", { className: "face" }, face(src, name))));
  const how = question.is_known ? "They were matched." : "They were not matched.";
  $("queue").replaceChildren(h("article", { className: "card", "data-key": question.own }, h("h2", { tabIndex: -1 }, "Same person?"),
    h("p", { className: "soft" }, `${how} Margin ${question.margin.toFixed(3)}; ${times(state.questions.length, "question", "questions")} open.`),
    h("div", { className: "sides" }, side(question.faces[0], question.own_label), side(question.faces[1], other)),
    h("div", { className: "answers" },
      h("button", { type: "button", className: "first", disabled: state.is_read_only, onclick: () => answer(question, true) }, "Yes, one person ", h("kbd", {}, "y")),
      h("button", { type: "button", disabled: state.is_read_only, onclick: () => answer(question, false) }, "No, two people ", h("kbd", {}, "n")),
      h("button", { type: "button", onclick: pass }, "Unsure ", h("kbd", {}, "u")))));
}

function pass() {
  state.questions.push(state.questions.shift());
  draw();
}

function draw() {
  $("title").textContent = `Gallery ${state.name}`;
  document.title = `Review of ${state.name}`;
  $("left").textContent = state.questions.length || "";
  for (const id of ["home", "queue", "person"]) $(id).hidden = view !== id;
  for (const [id, of] of [["to-home", "home"], ["to-queue", "queue"]]) {
    if (view === of) $(id).setAttribute("aria-current", "page"); else $(id).removeAttribute("aria-current");
  }
  $("undo").disabled = !state.can_undo || state.is_read_only;
  $("redo").disabled = !state.can_redo || state.is_read_only;
  $("known").replaceChildren(...[...new Set(state.people.map((p) => p.name).filter(Boolean))].map((name) => h("option", { value: name })));
  if (view === "home") drawHome();
  if (view === "queue") drawQueue();
  if (view === "person") drawPerson();
}

document.addEventListener("keydown", (event) => {
  if (!state || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input[type=text]")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const question = view === "queue" ? state.questions[0] : null;
  const does = {
    z: () => state.can_undo && act({ do: "undo" }, "Undone."),
    Z: () => state.can_redo && act({ do: "redo" }, "Done again."),
    q: () => go("queue"),
    h: () => go("home"),
    Escape: () => { if (view === "home") { chosen.clear(); drawHome(); } else go("home"); },
    m: view === "home" && (() => pair("same", "one person")),
    d: view === "home" && (() => pair("different", "two people")),
    n: question ? () => answer(question, false) : view === "person" && (() => $("name").focus()),
    y: question && (() => answer(question, true)),
    u: question && pass,
  }[event.key];
  if (does) { event.preventDefault(); does(); }
});

async function main() {
  // The token works once. Without the token in the address, the page can be reloaded.
  if (location.search) history.replaceState(null, "", location.pathname);
  const { state: first, tables } = await get("api/state");
  $("tables").textContent = tables;
  $("to-home").onclick = () => go("home");
  $("to-queue").onclick = () => go("queue");
  $("undo").onclick = () => act({ do: "undo" }, "Undone.");
  $("redo").onclick = () => act({ do: "redo" }, "Done again.");
  $("merge").onclick = () => pair("same", "one person");
  $("different").onclick = () => pair("different", "two people");
  $("clear").onclick = () => { chosen.clear(); drawHome(); };
  $("minor").ontoggle = drawHome;
  take(first);
  if (state.is_read_only) say("Read-only: nothing can be changed here.");
  document.documentElement.dataset.ready = "yes";
  setTimeout(poll, POLL_MS);
}
main().catch((error) => say(error.message));
