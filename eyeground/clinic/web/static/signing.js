// What a signature releases, shown before it is given: the whole of it, and where it is less urgent than the rules.

import { element, openDialog } from "./dialogs.js";

/** What is said of each finding, what is there first. */
function verdicts(names, findings, told, words) {
  const short = (name) => (name.length < 4 ? name : told.titles[name]);
  const lines = [];
  if (names.includes("DR")) {
    lines.push("DR: " + (findings.DR === undefined ? words.not_assessed : findings.DR + " " + told.grades[findings.DR]));
  }
  const rest = names.filter((name) => name !== "DR");
  for (const [value, word] of [[1, words.present], [0, words.absent], [undefined, words.not_assessed]]) {
    const named = rest.filter((name) => findings[name] === value);
    if (named.length) lines.push(word + ": " + named.map(value === 1 ? (name) => told.titles[name] : short).join(words.and));
  }
  return lines;
}

/** What will be released, exactly. */
function summary(opinion, foreseen, keys, told, words) {
  const list = document.createElement("dl");
  list.className = "summary";
  const add = (name, text, className = "") => list.append(element("dt", name), element("dd", text, className));
  add(words.sign_patient, [told.patient || words.no_patient_id, told.name].filter(Boolean).join(" "), "strong");
  for (const eye of keys.length ? ["OD", "OS"] : []) {
    for (const key of keys.filter((each) => each.endsWith("/" + eye))) {
      const mine = opinion.eyes[key];
      const name = words[eye] + (told.parts.length > 1 ? " " + words[key.split("/")[0]] : "");
      const lines = mine.ungradable ? [words.ungradable] : verdicts(told.findings[key.split("/")[0]], mine.findings, told, words);
      if (mine.reason) lines.push(words.sign_reason + ": " + mine.reason);
      add(name, lines.join("\n"));
    }
  }
  for (const name of told.texts) add(words.answered[name], opinion.texts[name]);
  if (opinion.narrative.trim()) add(words.fields.narrative, opinion.narrative);
  if (!told.report || opinion.conclusion) add(words.sign_conclusion, opinion.conclusion);
  if (!told.report || opinion.recommendation) add(words.sign_recommendation, opinion.recommendation || words.sign_empty);
  if (!told.report) {
    add(words.sign_urgency, foreseen.title, "strong");
    if (foreseen.reasons.length) add(words.sign_because, foreseen.reasons.join("\n"));
  }
  const to = [words.queue ? words.to_queue.replace("{queue}", () => words.queue) : words.to_sender];
  if (words.link) to.push(words.to_patient);
  add(words.sign_to, to.join("; "));
  return list;
}

/** What is wrong with a recommendation that lets a patient wait longer than the rules; empty where nothing is. */
export function milder(recommendation, foreseen, told, words) {
  if (told.report) return "";
  const named = told.levels.filter((level) => level.said.some((text) => recommendation.includes(text)));
  const least = Math.min(...named.map((level) => level.rank));
  if (named.length && least <= foreseen.rank) return "";
  if (!named.length && !foreseen.refer) return "";
  const text = named.length ? words.milder : words.names_none;
  return text.replace("{rules}", () => foreseen.title);
}

/** Show what is to be signed; `confirm` signs. Whether it was signed. */
export function askToSign(opinion, foreseen, { keys, told, words, confirm }) {
  const dialog = document.getElementById("sign-dialog");
  const said = milder(opinion.recommendation, foreseen, told, words);
  const box = document.getElementById("milder");
  const sure = box.querySelector("input");
  dialog.querySelector(".told").replaceChildren(summary(opinion, foreseen, keys, told, words));
  box.hidden = !said;
  box.querySelector("span").textContent = said;
  sure.checked = false;
  sure.required = Boolean(said);
  // Not on the button: Enter out of habit must not release a report.
  return openDialog("sign-dialog", { confirm, focus: document.getElementById("sign-title") });
}
