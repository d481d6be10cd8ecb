// Graphs drawn by the server: zoom (wheel, pinch, + and −), pan (drag, arrow keys), fit, a small map, and the way from a
// node to its change and back. Without this file a graph scrolls and its nodes are links all the same.

const SVG = "http://www.w3.org/2000/svg";
const NEAREST = 2, READABLE = 0.55, FAR = 0.42, MAPPED = 0.75;
const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

const start = (frame) => {
  const svg = frame.querySelector("svg.wf-graph");
  if (!svg || frame.dataset.viewer) return;
  frame.dataset.viewer = "1";
  const whole = svg.viewBox.baseVal, all = { x: whole.x, y: whole.y, w: whole.width, h: whole.height };
  const at = { x: all.x, y: all.y, k: 1 }; // the upper left corner, and pixels for a unit
  const size = () => ({ w: frame.clientWidth, h: frame.clientHeight });
  const fitting = () => Math.min(size().w / all.w, size().h / all.h, 1.25);
  const map = made();

  const show = () => {
    const { w, h } = size(), room = { w: w / at.k, h: h / at.k };
    // What is smaller than the frame stands in its middle; the rest cannot be lost out of sight.
    const hold = (value, from, length, seen) => length <= seen ? from - (seen - length) / 2 : clamp(value, from - seen / 3, from + length - seen * 2 / 3);
    at.x = hold(at.x, all.x, all.w, room.w);
    at.y = hold(at.y, all.y, all.h, room.h);
    svg.setAttribute("viewBox", `${at.x} ${at.y} ${room.w} ${room.h}`);
    frame.classList.toggle("is-far", at.k < FAR);
    frame.classList.toggle("is-whole", room.w >= all.w && room.h >= all.h);
    map.draw(room);
  };
  const zoom = (factor, x = size().w / 2, y = size().h / 2) => {
    const k = clamp(at.k * factor, Math.min(fitting(), 1), NEAREST);
    at.x += x / at.k - x / k;
    at.y += y / at.k - y / k;
    at.k = k;
    show();
  };
  const fit = () => { at.k = fitting(); show(); };
  const centre = (node, nearer = true) => {
    const box = node.getBBox(), own = node.transform.baseVal.consolidate()?.matrix ?? { e: 0, f: 0 };
    if (nearer && at.k < READABLE) at.k = 0.8;
    at.x = own.e + box.width / 2 - size().w / at.k / 2;
    at.y = own.f + box.height / 2 - size().h / at.k / 2;
    show();
  };

  function made() {
    const small = document.createElementNS(SVG, "svg"), nodes = [...svg.querySelectorAll(".wf-node")];
    small.setAttribute("class", "wf-map");
    small.setAttribute("aria-hidden", "true");
    small.setAttribute("viewBox", `${all.x} ${all.y} ${all.w} ${all.h}`);
    for (const node of nodes) {
      const box = node.querySelector("rect");
      const rect = document.createElementNS(SVG, "rect");
      for (const side of ["width", "height"]) rect.setAttribute(side, box.getAttribute(side));
      rect.setAttribute("transform", node.getAttribute("transform"));
      rect.setAttribute("class", node.getAttribute("class").replaceAll("wf-node", "wf-dot"));
      small.append(rect);
    }
    const seen = document.createElementNS(SVG, "rect");
    seen.setAttribute("class", "wf-map-seen");
    small.append(seen);
    frame.append(small);
    const go = (event) => {
      if (!event.buttons) return;
      const box = small.getBoundingClientRect(), k = Math.min(box.width / all.w, box.height / all.h);
      const left = (box.width - all.w * k) / 2, top = (box.height - all.h * k) / 2;
      at.x = all.x + (event.clientX - box.left - left) / k - size().w / at.k / 2;
      at.y = all.y + (event.clientY - box.top - top) / k - size().h / at.k / 2;
      show();
      event.stopPropagation();
      event.preventDefault();
    };
    small.addEventListener("pointerdown", go);
    small.addEventListener("pointermove", go);
    return {
      draw(room) {
        small.toggleAttribute("hidden", Math.min(room.w / all.w, room.h / all.h) >= MAPPED || nodes.length < 12);
        const put = { x: at.x, y: at.y, width: room.w, height: room.h };
        for (const [name, value] of Object.entries(put)) seen.setAttribute(name, value);
      },
    };
  }

  // ---- pointers: one drags, two pinch; a press without a drag is a click on what is under it

  const held = new Map();
  let dragged = false;
  const spread = () => { const [a, b] = [...held.values()]; return { d: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 }; };
  frame.addEventListener("pointerdown", (event) => {
    if (event.button || event.target.closest("button")) return;
    if (!held.size) dragged = false;
    held.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  frame.addEventListener("pointermove", (event) => {
    const last = held.get(event.pointerId);
    if (!last) return;
    if (!event.buttons) return release(event);  // it was let go where nobody heard it
    const before = held.size === 2 ? spread() : null;
    if (!before && !dragged && Math.hypot(event.clientX - last.x, event.clientY - last.y) < 4) return;
    if (!dragged) { dragged = true; frame.setPointerCapture(event.pointerId); frame.classList.add("is-dragged"); }
    held.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (before) {
      const after = spread(), box = frame.getBoundingClientRect();
      at.x -= (after.x - before.x) / at.k;
      at.y -= (after.y - before.y) / at.k;
      zoom(after.d / (before.d || 1), after.x - box.left, after.y - box.top);
      return;
    }
    at.x -= (event.clientX - last.x) / at.k;
    at.y -= (event.clientY - last.y) / at.k;
    show();
  });
  const release = (event) => { held.delete(event.pointerId); if (!held.size) frame.classList.remove("is-dragged"); };
  for (const kind of ["pointerup", "pointercancel"]) frame.addEventListener(kind, release);
  frame.addEventListener("click", (event) => { if (dragged && event.detail) { event.preventDefault(); event.stopPropagation(); dragged = false; } }, true);
  frame.addEventListener("dragstart", (event) => event.preventDefault());
  frame.addEventListener("wheel", (event) => {
    // The page scrolls over a graph that nobody works in.
    if (!event.ctrlKey && !event.metaKey && !frame.contains(document.activeElement)) return;
    const box = frame.getBoundingClientRect(), step = clamp(event.deltaY * (event.deltaMode ? 16 : 1), -120, 120), k = at.k;
    zoom(Math.exp(-step / 300), event.clientX - box.left, event.clientY - box.top);
    if (event.ctrlKey || event.metaKey || at.k !== k) event.preventDefault();  // at its limit the page scrolls on
  }, { passive: false });

  // ---- the keyboard

  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  frame.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = steps[event.key];
    if (step) { at.x += step[0] * 80 / at.k; at.y += step[1] * 80 / at.k; show(); }
    else if (event.key === "+" || event.key === "=") zoom(1.25);
    else if (event.key === "-") zoom(0.8);
    else if (event.key === "0") fit();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  svg.addEventListener("focusin", ({ target }) => {
    const node = target.closest(".wf-node");
    if (!node?.matches(":focus-visible")) return;
    const box = node.getBoundingClientRect(), around = frame.getBoundingClientRect();
    if (at.k < READABLE || box.left < around.left || box.top < around.top || box.right > around.right || box.bottom > around.bottom) centre(node);
  });
  // The browser would scroll the clipped frame itself to show what has the focus.
  frame.addEventListener("scroll", () => { frame.scrollTo(0, 0); });

  const tools = frame.parentElement.querySelector("[data-graph-tools]");
  tools?.removeAttribute("hidden");
  tools?.addEventListener("click", ({ target }) => {
    const does = { in: () => zoom(1.25), out: () => zoom(0.8), fit };
    does[target.closest("[data-graph]")?.dataset.graph]?.();
  });
  frame.graph = { centre };
  new ResizeObserver(show).observe(frame);
  fit();
  // What is too large to be read as a whole begins at its first change.
  const first = svg.querySelector("a.wf-node") ?? svg.querySelector(".wf-node");
  if (at.k < READABLE && first) centre(first);
  const asked = location.hash.startsWith("#node-") && document.getElementById(location.hash.slice(1));
  if (asked && svg.contains(asked)) goTo(asked);
};

// ---- from a node to its change and back

const mark = (element) => {
  for (const one of document.querySelectorAll(".is-shown")) one.classList.remove("is-shown");
  element.classList.add("is-shown");
};
const goTo = (target) => {
  const frame = target.closest(".wf-graph-frame");
  mark(target);
  if (frame?.graph) {
    frame.graph.centre(target);
    frame.scrollIntoView({ block: "nearest" });
    target.focus({ preventScroll: true });
    return;
  }
  target.closest("details:not([open])")?.setAttribute("open", "");
  target.scrollIntoView({ block: "center" });
  if (!target.matches("a, [tabindex]")) target.tabIndex = -1;
  target.focus({ preventScroll: true });
};
document.addEventListener("click", (event) => {
  const link = event.target.closest?.('a[href^="#node-"], a[href^="#change-"]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const within = link.closest(".diff-view") ?? document;
  const target = within.querySelector(`#${CSS.escape(link.getAttribute("href").slice(1))}`);
  if (!target) return;
  event.preventDefault();
  history.replaceState(history.state, "", link.getAttribute("href"));
  goTo(target);
});

const begin = () => { for (const frame of document.querySelectorAll(".wf-graph-frame")) start(frame); };
document.addEventListener("htmx:load", begin);
begin();
