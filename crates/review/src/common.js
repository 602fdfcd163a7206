"use strict";
// Shared by the review pages of a run and of a gallery. `state` is the state as the server sent it. A page sends every
// act at once, and the answer has the new state, so all windows show the same state. Each page has its own `take`,
// which shows a new state.

const $ = (id) => document.getElementById(id);
const POLL_MS = 2000, NO_ANSWER = "The server does not answer; start `facetrack review` again.";
let state, view = "home", shown = null, chosen = new Set(), busy = false;

// An element with properties, handlers (`on…`), attributes (`aria-…`, `data-…`) and children.
function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else if (/^(aria-|data-|role$|list$)/.test(name)) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function clock(secs) {
  const whole = Math.max(0, Math.floor(secs)), two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}
const length = (secs) => secs < 60 ? `${secs < 10 ? secs.toFixed(1) : Math.round(secs)} s` : `${clock(secs)} min`;
const times = (n, one, many) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
const say = (text) => { $("status").textContent = text; };
const person = (id) => state.people.find((p) => p.id === id);

// The server.

async function get(path) {
  const answer = await fetch(path, { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

// Sends an act, unless one is on its way; `use` gets the answer.
async function send(body, use) {
  if (busy) return;
  busy = true;
  try {
    const answer = await fetch("api/act", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(await answer.text());
    use(await answer.json());
  } catch (error) {
    say(error instanceof TypeError ? NO_ANSWER : error.message);
  } finally {
    busy = false;
  }
}

async function poll() {
  if (!document.hidden && !busy) {
    try {
      const { state: next, tables } = await get(`api/state?since=${state.version}`);
      if (next && !busy) take(next);
      $("tables").textContent = tables;
    } catch {
      $("tables").textContent = NO_ANSWER;
    }
  }
  setTimeout(poll, POLL_MS);
}
