// Two doctors: both versions side by side, field by field; what is chosen is what is saved.

import { element, openDialog } from "./dialogs.js";

/** Name a field as the form does. */
function nameOf(where, told, words) {
  const steps = where.split(".");
  if (steps[0] === "eyes") {
    const [part, eye] = steps[1].split("/");
    const field = steps[2] === "findings" ? told.titles[steps[3]] ?? steps[3] : words.fields[steps[2]] ?? steps[2];
    return words[eye] + (told.parts.length > 1 ? " " + words[part] : "") + " · " + field;
  }
  return steps[0] === "texts" ? words.answered[steps[1]] ?? steps[1] : words.fields[steps[0]] ?? steps[0];
}

function said(value, where, told, words) {
  if (value === null || value === "") return words.none;
  if (value === true) return words.yes;
  if (value === false) return words.no;
  if (where.endsWith(".findings.DR")) return words.grade_n.replace("{grade}", () => value) + " " + told.grades[value];
  return where.includes(".findings.") ? (value ? words.present : words.absent) : String(value);
}

/** Put a value where a path of names leads; null takes it away. */
function put(opinion, where, value) {
  const [first, key, field, name] = where.split(".");
  if (first === "eyes") {
    const eye = (opinion.eyes[key] ??= { findings: {}, ungradable: false, reason: "" });
    if (field === "findings") {
      if (value === null) delete eye.findings[name];
      else eye.findings[name] = value;
    } else eye[field] = value ?? (field === "ungradable" ? false : "");
  } else if (first === "texts") opinion.texts[key] = value ?? "";
  else opinion[first] = value ?? "";
}

/**
 * Let the doctor choose between what he sent and what was stored meanwhile.
 * @returns the opinion chosen, or null where he chose nothing
 */
export async function choose(opinion, differences, told, words) {
  const body = document.querySelector("#stale-dialog .told");
  body.replaceChildren();
  differences.forEach((each, at) => {
    const row = document.createElement("tr");
    const head = element("th", nameOf(each.where, told, words));
    head.scope = "row";
    row.append(head);
    for (const [side, value] of [["mine", each.sent], ["theirs", each.stored]]) {
      const cell = document.createElement("td");
      const label = document.createElement("label");
      const input = document.createElement("input");
      input.type = "radio";
      input.name = "choice-" + at;
      input.value = side;
      input.checked = side === "mine";
      label.append(input, " ", element("span", said(value, each.where, told, words), "value"));
      cell.append(label);
      row.append(cell);
    }
    body.append(row);
  });
  for (const button of document.querySelectorAll("[data-all]")) {
    button.onclick = () => {
      for (const input of body.querySelectorAll("input")) input.checked = input.value === button.dataset.all;
    };
  }
  const chosen = structuredClone(opinion);
  const done = await openDialog("stale-dialog", {
    confirm: async () => {
      differences.forEach((each, at) => {
        const side = body.querySelector(`[name="choice-${at}"]:checked`).value;
        put(chosen, each.where, side === "mine" ? each.sent : each.stored);
      });
      for (const eye of Object.values(chosen.eyes)) if (eye.ungradable) eye.findings = {};
      return true;
    },
    focus: body.querySelector("input"),
  });
  return done ? chosen : null;
}
