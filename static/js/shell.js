// The shell: theme, toasts, dialogs, menus, times.
const root = document.documentElement;
const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// ---- theme: a cookie, so that the server draws the right one at once

const themes = ["system", "light", "dark"];
const showTheme = () => {
  const words = { system: "follow the system", light: "light", dark: "dark" };
  for (const button of all("[data-theme-toggle]")) button.setAttribute("aria-label", `Theme: ${words[root.dataset.theme]}`);
};
const setTheme = (theme) => {
  root.dataset.theme = theme;
  const age = theme === "system" ? 0 : 31536000;
  document.cookie = `theme=${theme}; path=/; max-age=${age}; samesite=lax${location.protocol === "https:" ? "; secure" : ""}`;
  showTheme();
};

// ---- toasts

const tones = { error: "bad", danger: "bad", warning: "warn", success: "good", info: "grey" };
const stay = { bad: 0, warn: 10000, good: 6000, grey: 6000 };

const expire = (toast) => {
  const time = toast.querySelector("a[href]") ? 12000 : stay[/tone-(\w+)/.exec(toast.className)?.[1]] ?? 6000;
  if (!time) return;
  let timer = setTimeout(() => toast.remove(), time);
  toast.addEventListener("pointerenter", () => clearTimeout(timer));
  toast.addEventListener("focusin", () => clearTimeout(timer));
  toast.addEventListener("pointerleave", () => { timer = setTimeout(() => toast.remove(), 3000); });
};

/** Show a toast: a sentence, or {level, title, message, recovery, code, url, label}. */
const toast = (given) => {
  const detail = typeof given === "string" ? { message: given } : given;
  const tone = tones[detail.level] ?? "grey";
  const made = one("#toast-template").content.firstElementChild.cloneNode(true);
  made.classList.add(`tone-${tone}`);
  if (tone === "bad") made.setAttribute("role", "alert");
  one("[data-slot=mark]", made).replaceWith(one(`#toast-mark-${tone}`).content.cloneNode(true));
  const title = [detail.title, detail.code && `(${detail.code})`].filter(Boolean).join(" ");
  for (const [slot, text] of [["title", title], ["message", detail.message], ["recovery", detail.recovery]]) {
    const line = one(`[data-slot=${slot}]`, made);
    if (text) line.textContent = text; else line.remove();
    if (slot === "title") line.classList.add("strong");
  }
  const link = one("[data-slot=link]", made);
  if (detail.url) { link.href = detail.url; link.textContent = detail.label ?? "Look"; link.hidden = false; } else link.remove();
  const list = one("#toasts");
  while (list.children.length > 3) list.firstElementChild.remove();
  list.append(made);
  expire(made);
};

// `HX-Trigger: {"toast": {...}}`; htmx puts a bare string into `value`, several into an array.
document.addEventListener("toast", ({ detail }) => {
  const given = detail?.value ?? detail;
  for (const item of Array.isArray(given) ? given : [given]) if (item) toast(item);
});
document.addEventListener("htmx:responseError", ({ detail }) => {
  const said = detail.xhr.getResponseHeader("HX-Trigger") ?? "";
  if (said.includes("toast")) return;
  const status = detail.xhr.status;
  if (status === 401) { location.reload(); return; }
  toast({
    level: "error",
    title: status === 403 ? "Not allowed" : status === 404 ? "Not found" : "That did not work",
    message: status >= 500 ? `The console answered with a fault (${status}).` : `The console refused it (${status}).`,
    recovery: "Nothing you typed was lost. Try again, or reload the page.",
  });
});
document.addEventListener("htmx:sendError", () => toast({
  level: "error", title: "No answer", message: "The console could not be reached.", recovery: "Check the connection; nothing you typed was lost.",
}));

// ---- dialogs: `command`/`commandfor`, with a fallback for browsers that lack them

const close = (dialog) => dialog.close();
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[commandfor]");
  if (button?.getAttribute("aria-disabled") === "true") { event.preventDefault(); toast({ level: "info", message: button.dataset.why }); return; }
  if (button && !("command" in HTMLButtonElement.prototype)) {
    const dialog = document.getElementById(button.getAttribute("commandfor"));
    if (button.getAttribute("command") === "close") close(dialog); else dialog?.showModal();
  }
  const refused = event.target.closest("[data-why][aria-disabled=true]");
  if (refused) { event.preventDefault(); toast({ level: "info", message: refused.dataset.why }); }
  if (event.target.closest("[data-dismiss]")) event.target.closest("[data-toast]")?.remove();
  if (event.target.matches("dialog") && !("closedBy" in HTMLDialogElement.prototype)) close(event.target);

  const copied = event.target.closest("[data-copy]");
  if (copied) {
    event.preventDefault();
    navigator.clipboard?.writeText(copied.dataset.copy).then(
      () => { copied.dataset.done = ""; toast({ level: "success", message: "Copied" }); setTimeout(() => delete copied.dataset.done, 1500); },
      () => toast({ level: "warning", message: "The browser did not allow copying." }),
    );
  }
  if (event.target.closest("[data-theme-toggle]")) setTheme(themes[(themes.indexOf(root.dataset.theme) + 1) % 3]);
  for (const menu of all("details[data-menu][open]")) {
    if (!menu.contains(event.target) || event.target.closest(".menu-body :is(a, button)")) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.activeElement?.closest("details[data-menu][open]") ?? one("details[data-menu][open]");
  if (menu) { menu.open = false; one("summary", menu).focus(); event.stopPropagation(); }
  if (location.hash === "#rail") location.hash = "content";
});

// ---- typed names: shut until right

document.addEventListener("input", ({ target }) => {
  if (target.matches("[data-typed]")) {
    const right = target.value.trim() === target.dataset.typed;
    target.setCustomValidity(right ? "" : `Type “${target.dataset.typed}” as it is written.`);
    const button = one(".dialog-foot .button:last-child", target.form);
    if (button) button.disabled = !right;
  }
  if (target.matches("[data-filter-list]")) {
    const wanted = target.value.trim().toLowerCase();
    for (const item of all("[data-name]", target.parentElement)) item.hidden = !item.dataset.name.includes(wanted);
  }
});

// ---- `hx-confirm` and `data-confirm`: one dialog that says what will happen; true when the person goes on

const ask = ({ title, effect, verb, typed }) => new Promise((resolve) => {
  const dialog = one("#confirm");
  const slot = (name) => one(`[data-slot=${name}]`, dialog);
  slot("title").textContent = title || "Are you sure?";
  slot("effect").textContent = effect || "";
  slot("verb").textContent = verb || "Continue";
  slot("typed").hidden = !typed;
  slot("name").textContent = typed || "";
  const input = one("#confirm-typed", dialog);
  input.value = "";
  const check = () => { slot("verb").disabled = Boolean(typed) && input.value.trim() !== typed; };
  input.oninput = check;
  check();
  dialog.returnValue = "no";
  dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  dialog.showModal();
});
const question = (element) => ({
  title: element.dataset.confirmTitle, effect: element.dataset.confirm || element.getAttribute("hx-confirm"),
  verb: element.dataset.confirmVerb, typed: element.dataset.confirmTyped,
});
document.addEventListener("htmx:confirm", (event) => {
  if (!event.detail.question) return;
  event.preventDefault();
  ask(question(event.detail.elt)).then((yes) => yes && event.detail.issueRequest(true));
});
document.addEventListener("submit", (event) => {
  const asked = event.submitter?.matches("[data-confirm]") ? event.submitter : event.target.closest("form[data-confirm]");
  if (!asked || event.target.dataset.asked) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const submitter = event.submitter;
  ask(question(asked)).then((yes) => {
    if (!yes) return;
    event.target.dataset.asked = "1";
    event.target.requestSubmit(submitter);
    delete event.target.dataset.asked;
  });
}, true);

addEventListener("submit", (event) => { // a second press sends nothing twice
  const form = event.target;
  if (form.sent) event.preventDefault();
  else if (form.method === "post") {
    const heard = event.submitter?.classList;
    form.sent = 1; heard?.add("htmx-request");
    setTimeout(() => { delete form.sent; heard?.remove("htmx-request"); }, 2e3);
  }
});

// ---- times that stay true, countdowns, and what arrives by a swap

const units = [[31536000, "y"], [86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
const span = (seconds, parts = 1) => {
  const at = units.findIndex(([size]) => seconds >= size);
  const [size, unit] = units[at] ?? [1, "s"];
  const rest = seconds % size;
  const more = parts > 1 && at >= 0 && units[at + 1] && rest >= units[at + 1][0] ? ` ${Math.floor(rest / units[at + 1][0])} ${units[at + 1][1]}` : "";
  return `${Math.floor(seconds / size)} ${unit}${more}`;
};
const tick = () => {
  for (const time of all("time[data-ago]")) {
    const away = (Date.now() - Date.parse(time.dateTime)) / 1000;
    const said = Math.abs(away) < 5 ? "just now" : away > 0 ? `${span(away)} ago` : `in ${span(Math.round(-away / 60) * 60 || -away, 2)}`;
    if (time.firstElementChild && time.firstElementChild.textContent !== said) time.firstElementChild.textContent = said;
  }
};
const countdown = () => {
  for (const clock of all("[data-countdown]")) {
    const left = Math.max(0, Math.round((Date.parse(clock.dataset.countdown) - Date.now()) / 1000));
    clock.textContent = left ? `in ${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}` : "now";
  }
};
const prepare = (within) => {
  for (const dialog of all("dialog[data-open]", within)) { delete dialog.dataset.open; dialog.showModal(); }
  for (const typed of all("[data-typed]", within)) typed.dispatchEvent(new Event("input", { bubbles: true }));
};
document.addEventListener("htmx:load", ({ detail }) => { prepare(detail.elt); tick(); });
all("[data-toast]").forEach(expire);
prepare(document);
showTheme();
countdown();
setInterval(tick, 15000);
setInterval(countdown, 1000);
