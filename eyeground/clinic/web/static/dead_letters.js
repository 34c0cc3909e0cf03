// Dead letters: one row is chosen at a time; what was done to a letter is written into its row.

import { Refusal, ask, onKeys, speak } from "./base.js";
import { element, shown } from "./dialogs.js";

const told = JSON.parse(document.getElementById("told").textContent);
const language = document.documentElement.lang.slice(0, 2);
const rows = [...document.querySelectorAll("#letters tbody tr")];
const failure = document.getElementById("failure");
const sure = document.getElementById("sure");

const chosen = () => rows.find((row) => row.tabIndex === 0);

function choose(row) {
  if (!row) return;
  for (const each of rows) each.tabIndex = each === row ? 0 : -1;
}

function move(by) {
  const row = rows[Math.min(rows.length - 1, Math.max(0, rows.indexOf(chosen()) + (document.activeElement === chosen() ? by : 0)))];
  choose(row);
  row?.focus();
}

/** Write into a row what its letter is now. */
function show(row, letter) {
  const open = !letter.replayed_at;
  const outcome = told.outcomes[letter.outcome] ?? letter.outcome;
  row.querySelector(".outcome").replaceChildren(
    element("span", outcome, open ? "attention" : letter.outcome === "dismissed" ? "" : "good"),
  );
  if (letter.outcome === "refused") {
    row.querySelector(".code").textContent = letter.code;
    row.querySelector(".sentence")?.remove();
    row.querySelector(".problems").replaceChildren(...letter.problems.map((each) => {
      const line = element("li", "");
      const sentence = each.where ? each[language].slice(each.where.length + 2) : each[language];
      line.append(element("code", each.where || told.whole), " ", sentence);
      return line;
    }));
  }
  if (!open) {
    delete row.dataset.open;
    row.querySelector(".deeds").replaceChildren(element("span", told.closed, "small"));
    row.focus();
  }
  speak(told.done.replace("{number}", letter.id).replace("{outcome}", outcome));
}

async function carryOut(row, deed) {
  if (!row || !("open" in row.dataset) || row.ariaBusy === "true") return;
  choose(row);
  row.ariaBusy = "true";
  const buttons = row.querySelectorAll("button");
  for (const each of buttons) each.disabled = true;
  failure.hidden = true;
  try {
    show(row, await ask("POST", `/api/v1/dead-letters/${row.dataset.number}/${deed}`));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    failure.textContent = error.message;
    failure.hidden = false;
  } finally {
    row.ariaBusy = "false";
    for (const each of buttons) each.disabled = false;
  }
}

async function dismiss(row) {
  if (!row || !("open" in row.dataset)) return;
  choose(row);
  document.getElementById("sure-text").textContent = told.confirm.replace("{number}", row.dataset.number);
  const answer = await shown(sure);
  row.focus();
  if (answer === "yes") carryOut(row, "dismiss");
}

for (const row of rows) {
  row.addEventListener("focusin", () => choose(row));
  row.querySelector('[data-deed="replay"]')?.addEventListener("click", () => carryOut(row, "replay"));
  row.querySelector('[data-deed="dismiss"]')?.addEventListener("click", () => dismiss(row));
}
onKeys({
  j: () => move(1),
  k: () => move(-1),
  r: () => carryOut(chosen(), "replay"),
  d: () => dismiss(chosen()),
  a: () => document.querySelector(".filters a:not([aria-current])").click(),
});
