// Lists: tick rows (Shift: all between), count them, raise the bar that acts on them. What is ticked stays so while one
// filters or pages within the list: what is not shown is sent along by hidden fields, and said.

const all = (selector, within = document) => [...within.querySelectorAll(selector)];
let last = null;

const KEPT = `ticks:${location.pathname}`;
const cameFromHere = () => { try { return new URL(document.referrer).pathname === location.pathname; } catch { return false; } };
const ticked = new Set(cameFromHere() ? JSON.parse(sessionStorage.getItem(KEPT) ?? "[]") : []);
const keeps = (within) => all("[data-selection], [data-keeps-ticks]", within).length > 0;
const note = (tick) => (tick.checked ? ticked.add(tick.value) : ticked.delete(tick.value));
const carry = (within, ticks) => { // what is ticked and not shown; how many
  for (const old of all("[data-carried]", within)) old.remove();
  const shown = new Set([...ticks, ...all("input[type=hidden][name=selected]", within)].map(({ value }) => value));
  const form = ticks[0]?.form ?? (within.matches?.("form") ? within : null);
  const others = form ? [...ticked].filter((value) => !shown.has(value)) : [];
  for (const value of others) {
    const field = Object.assign(document.createElement("input"), { type: "hidden", name: "selected", value });
    field.dataset.carried = "";
    form.append(field);
  }
  sessionStorage.setItem(KEPT, JSON.stringify([...ticked]));
  return others.length;
};

const scope = (element) => element.closest("form, [data-list]") ?? document;
const refresh = (within) => {
  const ticks = all("[data-row-check]", within);
  if (keeps(within)) ticks.forEach(note);
  const elsewhere = keeps(within) ? carry(within, ticks) : 0;
  const here = ticks.filter((tick) => tick.checked).length, chosen = here + elsewhere;
  for (const bar of all("[data-selection]", within)) {
    bar.classList.toggle("shown", chosen > 0);
    bar.querySelector("[data-selected-count]").textContent = chosen;
    bar.querySelector("[data-not-shown]").textContent = elsewhere ? `, ${elsewhere} of them not shown` : "";
    const noun = bar.querySelector("[data-noun]");
    noun.textContent = noun.dataset.noun + (chosen === 1 ? "" : "s");
    for (const button of all("[data-needs]", bar)) {
      const [least, most] = button.dataset.needs.split("-").map(Number);
      button.disabled = chosen < least || (most && chosen > most);
    }
  }
  for (const said of all("[data-chosen]", within)) { // what the button acts on: "Restore # workflow into …"
    said.textContent = chosen ? said.dataset.chosen.replace(/# (\w+)/, `${chosen} $1${chosen === 1 ? "" : "s"}`) : said.dataset.none;
  }
  for (const head of all("[data-check-all]", within)) {
    head.checked = here > 0 && here === ticks.length;
    head.indeterminate = here > 0 && here < ticks.length;
  }
};

document.addEventListener("click", (event) => {
  const tick = event.target.closest("[data-row-check]");
  if (tick) {
    const ticks = all("[data-row-check]", scope(tick));
    if (event.shiftKey && last && ticks.includes(last)) {
      const [from, to] = [ticks.indexOf(last), ticks.indexOf(tick)].sort((a, b) => a - b);
      for (const between of ticks.slice(from, to + 1)) between.checked = tick.checked;
    }
    last = tick;
    refresh(scope(tick));
  }
  const clear = event.target.closest("[data-clear-selection]");
  if (clear) {
    for (const tick of all("[data-row-check]:checked", scope(clear))) tick.checked = false;
    ticked.clear();
    refresh(scope(clear));
  }
});
document.addEventListener("change", ({ target }) => {
  if (target.matches("[data-check-all]")) {
    for (const tick of all("[data-row-check]", scope(target))) tick.checked = target.checked;
    refresh(scope(target));
  } else if (target.matches("[data-submit-on-change]")) target.form?.requestSubmit();
});
const refreshAll = () => {
  for (const tick of all("[data-row-check]")) if (keeps(scope(tick)) && ticked.has(tick.value)) tick.checked = true;
  for (const bar of all("[data-selection], [data-chosen], [data-keeps-ticks]")) refresh(scope(bar));
};
document.addEventListener("htmx:afterSettle", refreshAll);
addEventListener("pageshow", refreshAll);
