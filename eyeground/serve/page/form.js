"use strict";
// Asks the model about one image at a time and shows what it says. Every text is in the page in both languages.

const { words, facts } = JSON.parse(document.getElementById("told").textContent);
const page = document.documentElement;
const [drop, input, heat, preview, shown, answer] = ["drop", "file", "heat", "preview", "shown", "answer"].map((id) =>
  document.getElementById(id),
);
let chosen = null; // the file
let asking = null; // ends the request under way
let addresses = []; // of pictures in memory

function make(tag, className, ...parts) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...parts);
  return element;
}

function say(pair, values = {}) {
  const parts = document.createDocumentFragment();
  for (const language of ["en", "zh"]) {
    const text = pair[language].replace(/\{(\w+)\}/g, (_, name) => values[name]);
    const span = make("span", "", text);
    span.dataset.in = span.lang = language;
    parts.append(span);
  }
  return parts;
}

// A word of the service, or of a newer one, as it is.
const word = (group, key) => say(words[group][key] ?? { en: key, zh: key });
const colon = () => say({ en: ": ", zh: "：" });
const open = () => say({ en: " (", zh: "（" });
const shut = () => say({ en: ")", zh: "）" });
const list = (nodes) => nodes.flatMap((node, place) => (place ? [say({ en: ", ", zh: "、" }), node] : [node]));
const number = (value) => value.toFixed(3);
const percent = (value) => `${(100 * value).toFixed(value < 0.995 ? 0 : 1)}%`;

function speak(language) {
  page.lang = page.dataset.say = language;
  for (const button of document.querySelectorAll("[data-speak]")) {
    button.setAttribute("aria-pressed", String(button.dataset.speak === language));
  }
  shown.alt = words.page.preview[language];
  for (const picture of document.querySelectorAll(".map img")) picture.alt = words.page.heat_map[language];
  document.title = `${words.page.title[language]} · Eyeground`;
}

function picture(blob) {
  const address = URL.createObjectURL(blob);
  addresses.push(address);
  return address;
}

function choose(file) {
  addresses.forEach((address) => URL.revokeObjectURL(address));
  addresses = [];
  chosen = file;
  page.classList.add("has-image");
  preview.hidden = false;
  document.getElementById("name").textContent = file.name;
  shown.hidden = true;
  document.getElementById("no-preview").hidden = true;
  shown.src = picture(file);
  ask();
}

function show(state, ...parts) {
  answer.dataset.state = state;
  answer.setAttribute("aria-busy", String(state === "working"));
  answer.replaceChildren(...parts);
}

async function ask() {
  asking?.abort();
  const mine = (asking = new AbortController());
  const working = document.getElementById("working").content.cloneNode(true);
  working.querySelector("button").addEventListener("click", () => {
    mine.abort();
    show("empty", make("p", "empty", word("page", "empty")));
  });
  show("working", working);
  const form = new FormData();
  form.append("image", chosen, chosen.name);
  try {
    const reply = await fetch(`predict?heat_map=${Boolean(heat?.checked)}`, {
      method: "POST",
      body: form,
      signal: mine.signal,
    });
    const told = await reply.json();
    if (!mine.signal.aborted) reply.ok ? tell(told) : fail(word("refusals", told.reason));
  } catch (error) {
    // What is no answer of ours, such as a proxy's page, is as good as none.
    if (!mine.signal.aborted) fail(word("page", "unreachable"));
  }
}

function fail(sentence) {
  const again = make("button", "plain", word("page", "again"));
  again.type = "button";
  again.addEventListener("click", ask);
  const alert = make("div", "alert", make("h2", "", word("page", "no_answer")), make("p", "", sentence), again);
  alert.setAttribute("role", "alert");
  show("error", alert);
}

function tell(told) {
  const parts = [about(told)];
  if (told.graded) {
    parts.push(...told.heads.map((head, place) => headPart(head, facts.heads[place], told.heads.length > 1)));
    if (!facts.calibrated) parts.push(make("p", "small", word("page", "uncalibrated")));
    if (heat?.checked) parts.push(told.heat_map ? map(told.heat_map) : make("p", "small", word("page", "no_heat_map")));
  } else {
    const why = list(quality(told).reasons.map((reason) => word("quality", reason)));
    parts.unshift(
      make(
        "div",
        "alert cannot",
        make("h2", "", word("page", "cannot_grade")),
        make("p", "", ...why),
        make("p", "", word("page", "not_normal")),
      ),
    );
  }
  show(told.graded ? "answered" : "cannot-grade", ...parts);
  speak(page.dataset.say);
}

function quality(told) {
  const [grade, reasons] = told.quality.split(": ");
  return { grade, reasons: reasons ? reasons.split(", ") : [] };
}

function about(told) {
  const { grade, reasons } = quality(told);
  const mark = { good: "good", fair: "fair" }[grade] ?? "cannot";
  const seen = make("dd", `mark ${mark}`, word("quality", grade));
  if (reasons.length) seen.append(colon(), ...list(reasons.map((reason) => word("quality", reason))));
  const eye = word("eyes", told.eye_conflict ? "conflict" : told.eye || "unknown");
  const rows = [
    ["quality", seen],
    ["eye", make("dd", told.eye_conflict ? "mark fair" : "", eye)],
    ["file", make("dd", "", told.file)],
  ];
  return make("dl", "facts", ...rows.flatMap(([key, value]) => [make("dt", "", word("page", key)), value]));
}

function headPart(head, known, several) {
  const part = make("section", several ? "head several" : "head");
  part.append(several ? make("h3", "", say(head.title)) : make("h3", "", word("page", "answer")));
  const says = head.kind === "quantity" ? [`${head.prediction.toPrecision(4)} ${head.unit}`] : [say(head.prediction_title)];
  part.append(make("p", "says", ...says));
  const classes = head.kind === "yes_no" ? known.classes.slice(1) : known.classes;
  if (classes.length) {
    part.append(make("table", "bars", make("tbody", "", ...classes.map((each) => bar(each, head, known)))));
  }
  if (known.calibration) part.append(calibrated(head, known));
  return part;
}

function bar(each, head, known) {
  const score = head.scores[each.name];
  const filled = document.createElement("i");
  filled.style.width = percent(score);
  const track = make("div", "track", filled);
  for (const threshold of known.calibration?.thresholds ?? []) {
    if (threshold.value !== null && threshold.classes.length === 1 && threshold.classes[0] === each.name) {
      const tick = document.createElement("b");
      tick.style.left = percent(threshold.value);
      track.append(tick);
    }
  }
  const title = document.createElement("th");
  title.scope = "row";
  title.append(say(each.title));
  return make("tr", head.prediction === each.name ? "said" : "", title, make("td", "", track), make("td", "", number(score)));
}

function calibrated(head, known) {
  const titles = new Map(known.classes.map((each) => [each.name, each.title]));
  const named = (name) => say(titles.get(name) ?? { en: name, zh: name });
  const coverage = say(words.page.coverage, { coverage: percent(known.calibration.coverage) });
  const set = head.set.length ? list(head.set.map(named)) : [word("page", "set_empty")];
  const rows = [
    make("p", head.certain ? "sure mark good" : "sure mark fair", word("page", head.certain ? "certain" : "uncertain")),
    make("p", "", word("page", "set"), colon(), make("strong", "", ...set), open(), coverage, shut()),
  ];
  for (const each of known.calibration.thresholds) {
    if (!(each.name in head.positive)) continue; // none could be chosen
    const positive = head.positive[each.name];
    const verdict = make("strong", positive ? "mark fair" : "", word("page", positive ? "positive" : "negative"));
    const rule = [word("page", "threshold"), ` ${number(each.value)}`, say({ en: ", ", zh: "，" }), word("page", each.rule)];
    rows.push(
      make("p", "", ...list(each.classes.map(named)), colon(), verdict, open(), ...rule, ` ≥ ${percent(each.target)}`, shut()),
    );
  }
  return make("div", "calibrated", ...rows);
}

function map(told) {
  const bytes = Uint8Array.from(atob(told.png), (character) => character.charCodeAt(0));
  const image = document.createElement("img");
  image.src = picture(new Blob([bytes], { type: "image/png" }));
  const regions = told.regions.length ? list(told.regions.map((name) => word("regions", name))) : [word("page", "no_regions")];
  return make(
    "figure", "map",
    make("h3", "", word("page", "heat_map"), ` · ${told.method}`),
    make("div", "dark", image),
    make("figcaption", "", say(told.caption)),
    make("p", "", word("page", "regions"), colon(), ...regions),
  );
}

shown.addEventListener("load", () => (shown.hidden = false));
shown.addEventListener("error", () => (document.getElementById("no-preview").hidden = false));
input.addEventListener("change", () => {
  if (input.files.length) choose(input.files[0]);
  input.value = ""; // so that the same file can be chosen again
});
heat?.addEventListener("change", () => chosen && ask());
for (const button of document.querySelectorAll("[data-speak]")) {
  button.addEventListener("click", () => speak(button.dataset.speak));
}
// A file dropped beside the zone would replace the page.
for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());
for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, () => drop.classList.add("over"));
for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => event.dataTransfer.files.length && choose(event.dataTransfer.files[0]));
speak(page.dataset.say);
