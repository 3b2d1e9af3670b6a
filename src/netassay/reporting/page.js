"use strict";
(() => {
  const NARROWEST_PANEL = 230;
  const read = (id) => JSON.parse(document.getElementById(id).textContent);

  // Fits a chart to the width there is: panels are put below each other before they get too narrow.
  function fit(spec, width) {
    const clone = structuredClone(spec);
    const entry = clone.usermeta && clone.usermeta.legendEntry;
    if (entry) narrowLegends(clone, Math.max(1, Math.floor((width - 60) / entry)));
    if (clone.facet && clone.columns && clone.spec) {
      const axis = 64, label = (clone.usermeta && clone.usermeta.labelWidth) || 0, gap = 24 + label;
      width -= label;
      const columns = Math.max(1, Math.min(clone.columns, Math.floor((width - axis + gap) / (NARROWEST_PANEL + gap))));
      clone.columns = columns;
      clone.spec.width = Math.max(120, Math.floor((width - axis - gap * (columns - 1)) / columns) - 6);
    } else if (clone.layer || clone.mark) {
      clone.width = width;
      clone.autosize = { type: "fit-x", contains: "padding" };
    }
    return clone;
  }

  function narrowLegends(node, columns) {
    if (Array.isArray(node)) node.forEach((part) => narrowLegends(part, columns));
    else if (node && typeof node === "object") {
      for (const [key, value] of Object.entries(node)) {
        if (key === "datasets" || key === "data") continue;
        if (key === "legend" && value && value.columns) value.columns = Math.min(value.columns, columns);
        else narrowLegends(value, columns);
      }
    }
  }

  const views = new Map();

  // A chart is its figure's own, or, in an answer above, that of the figure it names.
  const sourceOf = (box) => box.dataset.of || box.closest("figure").dataset.name;

  function stated(box, state) {
    box.dataset.state = state;
    const figure = box.closest("figure");
    if (figure) figure.dataset.state = state;
  }

  async function draw(box) {
    const name = sourceOf(box);
    const width = Math.floor(box.clientWidth);
    try {
      const spec = fit(read(name + ".chart"), width);
      if (box.dataset.of) shorten(spec);
      const drawn = await window.vegaEmbed(box, spec, {
        actions: false, ast: true, defaultStyle: false, mode: "vega-lite", renderer: "svg", scaleFactor: 1,
        tooltip: { disableDefaultStyle: true },
      });
      if (views.has(box)) views.get(box).result.finalize();
      views.set(box, { result: drawn, width });
      stated(box, "drawn");
    } catch (error) {
      const sentence = document.createElement("p");
      sentence.className = "nothing";
      sentence.textContent = "This chart could not be drawn: " + error.message;
      box.replaceChildren(sentence);
      stated(box, "failed");
      console.error(name, error);
    }
  }

  // In an answer, a chart is an illustration: no higher than a card takes.
  function shorten(spec) {
    if (!spec.facet && typeof spec.height === "number") spec.height = Math.min(spec.height, 210);
  }

  const boxes = () => Array.from(document.querySelectorAll(".chart"));
  const stale = (box) => !(views.has(box) && views.get(box).width === Math.floor(box.clientWidth));

  async function drawAll() {
    for (const box of boxes()) if (stale(box)) await draw(box);
  }

  // Charts are drawn as they come near the window, and again where it has another width.
  const near = new Set();
  let drawing = Promise.resolve();
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) near.add(entry.target); else near.delete(entry.target);
    }
    drawNear();
  }, { rootMargin: "900px 0px" });
  function drawNear() {
    drawing = drawing.then(async () => {
      for (const box of Array.from(near)) if (stale(box)) await draw(box);
    });
  }

  function download(blob, file) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  async function content(figure, kind) {
    const name = figure.dataset.name;
    if (kind === "csv") return new Blob([read(name + ".csv")], { type: "text/csv;charset=utf-8" });
    const view = views.get(figure.querySelector(".chart")).result.view;
    const background = view.background();
    view.background("white");
    try {
      if (kind === "svg") {
        const svg = (await view.toSVG()).replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, "\ufffd");
        return new Blob([svg], { type: "image/svg+xml" });
      }
      const canvas = await view.toCanvas(3);
      return await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    } finally {
      view.background(background);
    }
  }

  async function save(button) {
    const figure = button.closest("figure");
    const kind = button.dataset.save;
    if (kind !== "csv" && figure.dataset.state !== "drawn") return;
    download(await content(figure, kind), figure.dataset.name + "." + kind);
  }

  // Sorting: numbers by their full value, words by language order, what has no value always last.
  function order(a, b) {
    const left = a.dataset.value, right = b.dataset.value;
    const empty = (cell) => cell.querySelector(".none") !== null || /^nan$/i.test(cell.dataset.value || "");
    if (empty(a) || empty(b)) return { last: Number(empty(a)) - Number(empty(b)) };
    if (left === undefined) return { by: a.textContent.localeCompare(b.textContent, "en", { numeric: true }) };
    const number = (word) => Number(word.replace("inf", "Infinity"));
    return { by: Math.sign(number(left) - number(right)) || 0 };
  }

  function sortBy(head, index) {
    const body = head.closest("table").tBodies[0];
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = Array.from(body.rows).sort((a, b) => {
      const result = order(a.cells[index], b.cells[index]);
      return result.last !== undefined ? result.last : down ? -result.by : result.by;
    });
    body.append(...rows);
  }

  function makeSortable(table) {
    Array.from(table.tHead.rows[0].cells).forEach((head, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.title = "Sort by this column";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sortBy(head, index));
      head.append(button);
    });
  }

  // A wide table shows its first columns; the others unfold. What still does not fit is folded from the right.
  function foldColumns(table) {
    const heads = Array.from(table.tHead.rows[0].cells);
    const scroll = table.closest(".scroll");
    const show = (index, visible) => {
      for (const row of table.rows) if (row.cells[index]) row.cells[index].classList.toggle("folded", !visible);
    };
    const folded = new Set();
    const fold = (index) => { show(index, false); folded.add(index); };
    heads.forEach((head, index) => { if (head.dataset.fold) fold(index); });
    for (let index = heads.length - 1; index > 1 && scroll.scrollWidth > scroll.clientWidth + 1; index -= 1) {
      if (!folded.has(index)) fold(index);
    }
    if (!folded.size) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "unfold";
    let open = false;
    const label = () => {
      button.textContent = open ? "Fewer columns" : "All " + heads.length + " columns";
      button.setAttribute("aria-expanded", String(open));
    };
    button.addEventListener("click", () => {
      open = !open;
      folded.forEach((index) => show(index, open));
      label();
    });
    label();
    table.closest("figure").querySelector(".tools").prepend(button);
  }

  document.querySelectorAll("figure.table table").forEach(makeSortable);
  document.querySelectorAll("figure.table table").forEach(foldColumns);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-save]");
    if (button) save(button);
  });
  let timer;
  window.addEventListener("resize", () => {
    clearTimeout(timer);
    timer = setTimeout(drawNear, 200);
  });
  window.addEventListener("beforeprint", drawAll);
  boxes().forEach((box) => observer.observe(box));
})();
