// Accounts: a deed is confirmed, carried out, and the list loaded anew; a first password is shown once.

import { Refusal, ask } from "./base.js";
import { shown } from "./dialogs.js";

const told = JSON.parse(document.getElementById("told").textContent);
const failure = document.getElementById("failure");
const wrong = document.getElementById("wrong");
const sure = document.getElementById("sure");
const once = document.getElementById("once");

/** Ask, and say where it was refused. */
async function carried(place, method, path, body) {
  place.textContent = "";
  try {
    return await ask(method, path, body);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const language = document.documentElement.lang.slice(0, 2);
    const problems = (error.told.problems ?? []).map((each) => each[language]);
    place.textContent = problems.length ? problems.join("; ") : error.message;
    place.hidden = false;
    return undefined;
  }
}

async function confirmed(text) {
  document.getElementById("sure-text").textContent = text;
  return await shown(sure) === "yes";
}

function showOnce(made) {
  document.getElementById("once-text").textContent = told.made[made.kind].replace("{name}", () => made.name);
  document.getElementById("secret").textContent = made.secret;
  shown(once).then(() => location.reload());
}

for (const row of document.querySelectorAll("#accounts tbody tr")) {
  for (const button of row.querySelectorAll("button[data-deed]")) {
    button.addEventListener("click", async () => {
      const { name } = row.dataset;
      const { deed } = button.dataset;
      if (!await confirmed(told.sure[deed].replaceAll("{name}", () => name))) {
        button.focus();
        return;
      }
      button.disabled = true;
      failure.hidden = true;
      const done = await carried(failure, "POST", `/api/v1/accounts/${encodeURIComponent(name)}/${deed}`);
      if (done?.secret) showOnce(done);
      else if (done) location.reload();
      else button.disabled = false;
    });
  }
}

document.getElementById("add").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const button = form.querySelector("button");
  button.disabled = true;
  const made = await carried(wrong, "POST", "/api/v1/accounts", Object.fromEntries(new FormData(form)));
  button.disabled = false;
  if (made) showOnce(made);
});

document.getElementById("copy").addEventListener("click", async () => {
  const place = document.getElementById("copied");
  try {
    await navigator.clipboard.writeText(document.getElementById("secret").textContent);
    place.textContent = told.done.copied;
  } catch {
    getSelection().selectAllChildren(document.getElementById("secret"));
    place.textContent = told.done.not_copied;
  }
});
