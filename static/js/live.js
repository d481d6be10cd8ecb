// Live parts: `data-live="URL of events"`. An event moves the bars it names and triggers htmx's `live`, which asks for
// the part again; without events it is asked for now and then.

const sources = new Map(); // URL -> {source, timer}
const POLL = 4000;

const parts = (url) => [...document.querySelectorAll("[data-live]")].filter((part) => part.dataset.live === url);
const isBusy = () => document.querySelector("dialog[open]") || document.activeElement?.matches("#content :is(input, textarea, select)");
const wake = (url) => {
  const entry = sources.get(url);
  if (!entry || entry.soon) return;
  entry.soon = setTimeout(() => {
    entry.soon = 0;
    const found = parts(url);
    if (!found.length) { drop(url); return; }
    if (document.hidden) return;
    // What waits behind a request is lost when its answer takes the place: ask again after it.
    // What would take the whole page's place waits while one reads a dialog or types.
    if (found.some((part) => part.classList.contains("htmx-request") || ("livePage" in part.dataset && isBusy()))) { wake(url); return; }
    for (const part of found) part.dispatchEvent(new CustomEvent("live", { bubbles: false }));
  }, 400);
};
const drop = (url) => {
  const entry = sources.get(url);
  if (!entry) return;
  entry.source?.close();
  clearInterval(entry.timer);
  clearTimeout(entry.soon);
  sources.delete(url);
};
const poll = (url) => {
  const entry = sources.get(url);
  if (entry && !entry.timer) entry.timer = setInterval(() => wake(url), POLL);
};
const move = (said) => {
  const key = CSS.escape(String(said.id ?? ""));
  if (!key || said.done == null) return;
  for (const bar of document.querySelectorAll(`[data-progress="${key}"]`)) {
    if (said.total) { bar.max = said.total; bar.value = said.done; }
  }
  for (const text of document.querySelectorAll(`[data-progress-text="${key}"]`)) {
    text.textContent = said.total ? `${said.done.toLocaleString("en")} of ${said.total.toLocaleString("en")}` : said.done.toLocaleString("en");
  }
};
const hear = (url) => (event) => {
  const entry = sources.get(url);
  if (entry?.timer) { clearInterval(entry.timer); entry.timer = 0; }
  try { move(JSON.parse(event.data)); } catch { /* an event without JSON still says that something changed */ }
  wake(url);
};
const listen = (url) => {
  if (sources.has(url)) return;
  const entry = { source: null, timer: 0, soon: 0 };
  sources.set(url, entry);
  if (!window.EventSource) { poll(url); return; }
  entry.source = new EventSource(url);
  for (const kind of ["message", "progress", "operation", "step", "state", "changed", "done"]) entry.source.addEventListener(kind, hear(url));
  entry.source.addEventListener("error", () => poll(url));
  // A stream ends now and then and opens again.
  entry.source.addEventListener("open", () => { clearInterval(entry.timer); entry.timer = 0; });
};
const scan = () => {
  const wanted = new Set([...document.querySelectorAll("[data-live]")].map((part) => part.dataset.live));
  for (const url of [...sources.keys()]) if (!wanted.has(url)) drop(url);
  wanted.forEach(listen);
};
document.addEventListener("htmx:afterSettle", scan);

// `data-news` tells of changes: a list is drawn anew then, unless one works in it.
addEventListener("click", ({ target }) => target.closest("summary")?.parentElement.classList.add("touched"));
let known = 0;
const isTyped = (field) => !/box|radio|hidden|search/.test(field.type) && field.value !== field.defaultValue;
const isAtWork = () => isBusy() || getSelection().type === "Range" || document.querySelector("#content :is(.touched[open], .htmx-request)")
  || [...document.querySelectorAll("#content :is(input, textarea)")].some(isTyped);
setInterval(async () => {
  const list = document.querySelector("#content[data-news]");
  if (!list || document.hidden || isAtWork()) return;
  try {
    const { at } = await (await fetch(list.dataset.news)).json();
    if (at <= known || at < list.dataset.drawn - 5) return; // seen within 5 s
    const html = await (await fetch(location.href)).text();
    if (isAtWork()) return;
    known = at;
    htmx.swap("#content", html, { swapStyle: "outerHTML" }, { select: "#content" });
  } catch {}
}, 5000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) for (const url of sources.keys()) wake(url); });
addEventListener("pagehide", () => { for (const url of [...sources.keys()]) drop(url); });
addEventListener("pageshow", scan);
