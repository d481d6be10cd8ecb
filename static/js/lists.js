// Lists: tick rows (Shift: all between), count them, raise the bar that acts on them.

const all = (selector, within = document) => [...within.querySelectorAll(selector)];
let last = null;

const scope = (element) => element.closest("form, [data-list]") ?? document;
const refresh = (within) => {
  const ticks = all("[data-row-check]", within);
  const chosen = ticks.filter((tick) => tick.checked).length;
  for (const bar of all("[data-selection]", within)) {
    bar.classList.toggle("shown", chosen > 0);
    bar.querySelector("[data-selected-count]").textContent = chosen;
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
    head.checked = chosen > 0 && chosen === ticks.length;
    head.indeterminate = chosen > 0 && chosen < ticks.length;
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
    for (const ticked of all("[data-row-check]:checked", scope(clear))) ticked.checked = false;
    refresh(scope(clear));
  }
});
document.addEventListener("change", ({ target }) => {
  if (target.matches("[data-check-all]")) {
    for (const tick of all("[data-row-check]", scope(target))) tick.checked = target.checked;
    refresh(scope(target));
  } else if (target.matches("[data-submit-on-change]")) target.form?.requestSubmit();
});
const refreshAll = () => { for (const bar of all("[data-selection], [data-chosen]")) refresh(scope(bar)); };
document.addEventListener("htmx:afterSettle", refreshAll);
addEventListener("pageshow", refreshAll);
