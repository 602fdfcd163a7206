"use strict";
// The page reads without this; it adds a player, faces under the pointer, other thresholds, and links that open tables.
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const peek = document.getElementById("peek");

  // The picture beside a track's row, or the first one of its person where that was left out.
  const faceOf = (track) => {
    const row = document.getElementById("t" + track);
    return row && (row.querySelector("img") || row.closest(".card").querySelector("img"));
  };
  const copyOf = (track) => {
    const face = faceOf(track), picture = new Image();
    if (!face) return null;
    [picture.src, picture.alt] = [face.src, ""];
    return picture;
  };
  const tracksOf = (mark) => mark.dataset.t.split(" ");
  const wordsOf = (mark) => {
    const title = mark.querySelector("title");
    // Ours takes the place of the browser's own.
    if (title) { mark.dataset.words = title.textContent; title.remove(); }
    return mark.dataset.words || "";
  };
  const show = (mark, x, y) => {
    const words = document.createElement("p");
    words.textContent = wordsOf(mark);
    peek.replaceChildren(...tracksOf(mark).map(copyOf).filter(Boolean), words);
    peek.hidden = false;
    const { width, height } = peek.getBoundingClientRect();
    peek.style.left = Math.max(6, Math.min(x + 14, innerWidth - width - 6)) + "px";
    peek.style.top = (y + 18 + height > innerHeight ? Math.max(6, y - height - 12) : y + 18) + "px";
  };
  const hide = () => { peek.hidden = true; };

  // The player: a click on a time plays the video from there.
  const player = document.getElementById("player"), video = player.querySelector("video");
  const [said, link, close] = ["span", "a", "button"].map((name) => player.querySelector(name));
  const play = (href) => {
    const [url, at] = href.split("#t="), seek = () => { video.currentTime = Number(at); video.play().catch(() => {}); };
    link.href = href;
    if (!player.open) player.show();
    if (video.dataset.url !== url || video.error) {
      said.textContent = "";
      [video.dataset.url, video.src] = [url, url];
      video.addEventListener("loadedmetadata", () => seek(), { once: true });
      video.load();
    } else if (video.readyState) seek();
  };
  video.addEventListener("error", () => {
    said.textContent = "This browser cannot play the video from here. Try `facetrack review`, which converts it, or another program.";
  });
  const stop = () => { video.pause(); player.close(); };
  close.addEventListener("click", stop);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && player.open) stop(); });
  document.addEventListener("click", (event) => {
    const time = event.target.closest && event.target.closest('a[href*="#t="]');
    if (!time || time === link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    hide();
    play(time.getAttribute("href"));
  });

  // Marks of a drawing: under the pointer, or walked through with the arrow keys.
  for (const drawing of all("svg[data-marks]")) {
    let at = -1;
    const step = (by) => {
      const marks = all(drawing.dataset.marks, drawing);
      if (!marks.length) return;
      marks[at]?.classList.remove("on");
      at = Math.max(0, Math.min(marks.length - 1, at + by));
      const mark = marks[at], box = mark.getBoundingClientRect();
      mark.classList.add("on");
      mark.scrollIntoView({ block: "nearest", inline: "nearest" });
      show(mark, box.right, box.bottom);
    };
    drawing.addEventListener("pointerover", (event) => {
      const mark = event.target.closest("[data-t]");
      if (mark) show(mark, event.clientX, event.clientY); else hide();
    });
    drawing.addEventListener("pointerleave", hide);
    drawing.addEventListener("blur", hide);
    drawing.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1, PageDown: 20, PageUp: -20, Home: -1e6, End: 1e6 }[event.key];
      if (by) { step(by); event.preventDefault(); }
      if (event.key === "Escape") hide();
      const mark = all(drawing.dataset.marks, drawing)[at];
      if (event.key !== "Enter" || !mark) return;
      if (mark.matches("a")) mark.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
      else location.hash = "#t" + tracksOf(mark)[0];
    });
    drawing.tabIndex = 0;
  }
  document.addEventListener("scroll", hide, { passive: true });

  // A link to a track or a person opens what holds it.
  const open = () => {
    const target = /^#[tp]\d+$/.test(location.hash) && document.getElementById(location.hash.slice(1));
    if (!target) return;
    const isRow = target.matches("tr");
    for (let at = target.closest("details"); at; at = at.parentElement.closest("details")) at.open = true;
    target.scrollIntoView({ block: isRow ? "center" : "start" });
    target.tabIndex = -1;
    target.focus({ preventScroll: true });
  };
  addEventListener("hashchange", open);
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest('a[href^="#"]');
    if (link && link.getAttribute("href") === location.hash) open();
  });
  open();

  // Other thresholds: the cut of the tree, and the people that it gives.
  const cutter = document.getElementById("cutter");
  if (cutter) {
    const MOST_GROUPS = 40, MOST_FACES = 8;
    const [slider, said, reset] = ["input", "output", "button"].map((name) => cutter.querySelector(name));
    const { people, command, top, edge, body } = cutter.dataset;
    const cuts = cutter.dataset.cuts.split("/").map((text) => {
      const [threshold, n, unsorted, groups] = text.split(";");
      return { threshold, n: Number(n), unsorted: Number(unsorted), groups: groups ? groups.split(",") : [] };
    });
    const [line, label] = ["cut", "cut-label"].map((id) => document.getElementById(id));
    const links = all(".tree .link").map((link) => [Number(link.dataset.at), link.firstElementChild]);
    const own = cuts[slider.value], first = slider.value, known = new Set(own.groups);
    const times = (n, one, many) => n + " " + (n === 1 ? one : many);
    const group = (tracks) => {
      const list = document.createElement("ul"), ids = tracks.split(" ");
      list.className = known.has(tracks) ? "group" : "group changed";
      list.setAttribute("aria-label", times(ids.length, "track", "tracks"));
      const faces = ids.slice(0, MOST_FACES).map((id) => copyOf(id)).filter(Boolean);
      const more = ids.length - faces.length;
      for (const face of faces.concat(more > 0 ? ["+" + more] : [])) {
        list.append(Object.assign(document.createElement("li"), { className: typeof face === "string" ? "more" : "" }));
        list.lastChild.append(face);
      }
      return list;
    };
    const move = () => {
      const cut = cuts[slider.value], height = Number(cut.threshold);
      const y = Number(edge) + body * (1 - Math.min(height / top, 1));
      for (const name of ["y1", "y2"]) line.setAttribute(name, y);
      label.setAttribute("y", y);
      label.textContent = "cut at " + cut.threshold;
      for (const [at, path] of links) {
        path.classList.toggle("joined", at > Number(own.threshold) && at <= height);
        path.classList.toggle("split", at <= Number(own.threshold) && at > height);
      }
      said.textContent = cut.threshold + ": " + times(cut.n, "person", "people")
        + (cut.unsorted ? ", " + times(cut.unsorted, "track", "tracks") + " not sorted" : "") + ". This run: " + people + ".";
      slider.setAttribute("aria-valuetext", said.textContent);
      document.getElementById("cut-command").textContent = command + " " + cut.threshold;
      const changed = cut.groups.filter((tracks) => !known.has(tracks));
      const shown = changed.concat(cut.groups.filter((tracks) => known.has(tracks))).slice(0, MOST_GROUPS);
      const more = document.createElement("p");
      more.className = "note";
      more.textContent = cut.n > shown.length ? "And " + (cut.n - shown.length) + " more." : "";
      document.getElementById("groups").replaceChildren(...shown.map(group), more);
    };
    slider.addEventListener("input", move);
    reset.addEventListener("click", () => { slider.value = first; move(); });
    cutter.hidden = false;
    move();
  }
  document.documentElement.dataset.ready = "yes";
})();
