// One's own password, and signing out elsewhere.
import { ask, speak } from "./base.js";

const told = JSON.parse(document.getElementById("told").textContent);
const form = document.getElementById("change");
const problem = document.getElementById("problem");

/** Say what came of it, good or not, where it is seen and heard. */
function tell(text, isGood) {
  problem.textContent = text;
  problem.classList.toggle("good", isGood);
  problem.hidden = false;
  speak(text);
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = form.elements;
  for (const name of ["old", "new", "again"]) fields[name].removeAttribute("aria-invalid");
  const wrong = (field, text) => {
    field.setAttribute("aria-invalid", "true");
    tell(text, false);
    field.focus();
  };
  if (fields.new.value !== fields.again.value) return wrong(fields.again, told.differ);
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    await ask("POST", "/password", { old: fields.old.value, new: fields.new.value });
    sessionStorage.setItem("said", told.changed);
    location.reload();
  } catch (refusal) {
    if (refusal.reason === "wrong_password") return wrong(fields.old, refusal.message);
    if (refusal.reason === "password_refused") return wrong(fields.new, refusal.message);
    tell(refusal.message, false);
  } finally {
    button.disabled = false;
  }
});

document.getElementById("elsewhere")?.addEventListener("click", async (event) => {
  event.target.disabled = true;
  try {
    await ask("POST", "/password/elsewhere");
    sessionStorage.setItem("said", told.closed);
    location.reload();
  } catch (refusal) {
    event.target.disabled = false;
    speak(refusal.message);
    event.target.insertAdjacentText("afterend", ` ${refusal.message}`);
  }
});

// What a reloaded page has to say of what was done before.
const said = sessionStorage.getItem("said");
if (said) {
  sessionStorage.removeItem("said");
  const note = document.createElement("p");
  note.className = "alert good";
  note.textContent = said;
  document.getElementById("main").prepend(note);
  speak(said);
}
