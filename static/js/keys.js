// The keyboard: / search, Ctrl-K go to anything, g + letter for places, j/k rows, x select, ? help.

const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const command = one("#command");
const help = one("#help");
let waiting = 0;

const typing = (target) => target.closest?.("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");

// ---- the command bar

let asked = "", shown = "", going = false; // Enter waits for what was found for the words that stand there
const items = () => all(".command-item", command);
const choose = (index) => {
  const found = items();
  if (!found.length) return;
  const at = (index + found.length) % found.length;
  found.forEach((item, place) => item.setAttribute("aria-selected", String(place === at)));
  found[at].id ||= `command-${at}`;
  found[at].scrollIntoView({ block: "nearest" });
  one("input", command).setAttribute("aria-activedescendant", found[at].id);
};
const openCommand = () => {
  if (!command || command.open) return;
  command.showModal();
  const input = one("input", command);
  input.value = "";
  going = false;
  input.focus();
  input.dispatchEvent(new CustomEvent("command-open", { bubbles: true }));
};
command?.addEventListener("keydown", (event) => {
  const now = items().findIndex((item) => item.getAttribute("aria-selected") === "true");
  if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); choose(now + (event.key === "ArrowDown" ? 1 : -1)); }
  if (event.key === "Escape") { event.preventDefault(); command.close(); }
  if (event.key === "Enter") {
    event.preventDefault();
    going = shown !== one("input", command).value;
    if (!going) (items()[now] ?? items()[0])?.click();
  }
});
document.addEventListener("htmx:beforeRequest", ({ target }) => {
  if (command?.contains(target)) asked = one("input", command).value;
});
document.addEventListener("htmx:afterSwap", ({ target }) => {
  if (target.id !== "command-results") return;
  items().forEach((item, place) => { item.id = `command-${place}`; });
  choose(0);
  shown = asked;
  if (going && shown === one("input", command).value) items()[0]?.click();
});
document.addEventListener("click", (event) => {
  if (event.target.closest(".command-item")) command.close();
  if (event.target.closest("[data-command-open]") && command) { event.preventDefault(); openCommand(); }
});

// ---- rows

const rows = () => all("[data-rows] > tr, [data-rows] > li, [data-rows] > [data-row]").filter((row) => row.offsetParent !== null);
const move = (step) => {
  const list = rows();
  if (!list.length) return;
  const now = list.findIndex((row) => row.classList.contains("at"));
  const next = list[Math.min(Math.max(now < 0 ? (step > 0 ? 0 : list.length - 1) : now + step, 0), list.length - 1)];
  list[now]?.classList.remove("at");
  next.classList.add("at");
  (one("a[href]", next) ?? next).focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
};

// ---- the changes of a text diff: the first line of each

const change = (step) => {
  const first = all(".diff tr[data-change]").filter((row) => row.offsetParent && !row.previousElementSibling?.matches("[data-change]"));
  if (!first.length) return;
  const now = first.findIndex((row) => row.classList.contains("at"));
  const next = first[now < 0 ? (step > 0 ? 0 : first.length - 1) : (now + step + first.length) % first.length];
  first[now]?.classList.remove("at");
  next.classList.add("at");
  next.scrollIntoView({ block: "center" });
};

// ---- places

const places = all(".rail [data-key]");
const list = one("[data-places]");
for (const link of places) {
  const term = document.createElement("dt");
  for (const key of ["g", link.dataset.key]) { const cap = document.createElement("kbd"); cap.textContent = key; term.append(cap); }
  const said = document.createElement("dd");
  said.textContent = one("span", link).textContent;
  list?.append(term, said);
}

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") { event.preventDefault(); openCommand(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (typing(event.target)) {
    if (event.key === "Escape" && event.target.matches("[data-slash]")) event.target.blur();
    return;
  }
  if (one("dialog[open]")) return;
  if (Date.now() - waiting < 1200) {
    waiting = 0;
    const link = places.find((place) => place.dataset.key === event.key);
    if (link) { event.preventDefault(); link.click(); return; }
  }
  const keys = {
    g: () => { waiting = Date.now(); },
    "/": () => { const field = one("main [data-slash]"); if (field) { field.focus(); field.select(); } else openCommand(); },
    "?": () => help?.showModal(),
    n: () => change(1),
    p: () => change(-1),
    j: () => move(1),
    k: () => move(-1),
    x: () => { const tick = one("tr.at [data-row-check], li.at [data-row-check]"); tick?.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true, shiftKey: event.shiftKey })); },
    Escape: () => one("[data-clear-selection]")?.click(),
  };
  const does = keys[event.key] ?? keys[event.key.toLowerCase()];
  if (does) { if (event.key !== "Escape") event.preventDefault(); does(); }
});
