"use strict";
// The page reads without this; it adds faces under the pointer, a cut that moves, and links that open tables.
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const peek = document.getElementById("peek");

  // The picture beside a track's row, or its person's best one where that was left out.
  const faceOf = (track) => {
    const row = document.getElementById("t" + track);
    return row && (row.querySelector("img") || row.closest(".card").querySelector("img"));
  };
  const tracksOf = (mark) => (mark.dataset.t || mark.getAttribute("href").slice(2)).split(" ");
  const wordsOf = (mark) => {
    const title = mark.querySelector("title");
    // Ours takes the place of the browser's own.
    if (title) { mark.dataset.words = title.textContent; title.remove(); }
    return mark.dataset.words || "";
  };
  const show = (mark, x, y) => {
    const pictures = tracksOf(mark).map(faceOf).filter(Boolean).map((face) => {
      const picture = new Image();
      [picture.src, picture.alt] = [face.src, ""];
      return picture;
    });
    const words = document.createElement("p");
    words.textContent = wordsOf(mark);
    peek.replaceChildren(...pictures, words);
    peek.hidden = false;
    const { width, height } = peek.getBoundingClientRect();
    peek.style.left = Math.max(6, Math.min(x + 14, innerWidth - width - 6)) + "px";
    peek.style.top = (y + 18 + height > innerHeight ? Math.max(6, y - height - 12) : y + 18) + "px";
  };
  const hide = () => { peek.hidden = true; };

  // Marks of a drawing: under the pointer, or walked through with the arrow keys.
  const MARKS = 'a[href^="#t"], [data-t]';
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
      const mark = event.target.closest(MARKS);
      if (mark) show(mark, event.clientX, event.clientY); else hide();
    });
    drawing.addEventListener("pointerleave", hide);
    drawing.addEventListener("blur", hide);
    drawing.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1, PageDown: 20, PageUp: -20, Home: -1e6, End: 1e6 }[event.key];
      if (by) { step(by); event.preventDefault(); }
      if (event.key === "Escape") hide();
      const mark = all(drawing.dataset.marks, drawing)[at];
      if (event.key === "Enter" && mark) location.hash = "#t" + tracksOf(mark)[0];
    });
    drawing.tabIndex = 0;
  }
  document.addEventListener("scroll", hide, { passive: true });

  // A link to a track opens the table that holds its row.
  const open = () => {
    const row = /^#t\d+$/.test(location.hash) && document.getElementById(location.hash.slice(1));
    const table = row && row.closest("details");
    if (!table) return;
    table.open = true;
    row.scrollIntoView({ block: "center" });
    row.tabIndex = -1;
    row.focus({ preventScroll: true });
  };
  addEventListener("hashchange", open);
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#t"]');
    if (link && link.getAttribute("href") === location.hash) open();
  });
  open();

  // The cut of the tree.
  const cutter = document.getElementById("cutter");
  if (cutter) {
    const [slider, said, reset] = ["input", "output", "button"].map((name) => cutter.querySelector(name));
    const { heights, leaves, top, edge, body } = cutter.dataset;
    const sorted = heights.split(" ").filter(Boolean).map(Number);
    const [line, label] = ["cut", "cut-label"].map((id) => document.getElementById(id));
    const links = all(".tree .link").map((link) => [Number(link.dataset.at), link.firstElementChild]);
    const first = Number(slider.value);
    const groups = (cut) => leaves - sorted.filter((height) => height <= cut).length;
    const move = () => {
      const cut = Number(slider.value), y = Number(edge) + body * (1 - cut / top);
      for (const name of ["y1", "y2"]) line.setAttribute(name, y);
      label.setAttribute("y", y);
      label.textContent = "cut at " + cut.toFixed(2);
      for (const [height, path] of links) {
        path.classList.toggle("joined", height > first && height <= cut);
        path.classList.toggle("split", height <= first && height > cut);
      }
      const [now, then] = [groups(cut), groups(first)];
      said.textContent = now + (now === 1 ? " group" : " groups") + (cut === first ? ", as the run was cut"
        : "; at the run’s own cut " + then);
    };
    slider.addEventListener("input", move);
    reset.addEventListener("click", () => { slider.value = first; move(); });
    cutter.hidden = false;
    move();
  }
  document.documentElement.dataset.ready = "yes";
})();
