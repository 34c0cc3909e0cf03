// The case page: viewers, the doctor's form, and what becomes of it.

import { ask, onKeys, speak } from "./base.js";
import { choose } from "./conflict.js";
import { element, openDialog, sure } from "./dialogs.js";
import { decideEyes } from "./eyes.js";
import { Grading } from "./grading.js";
import { missing } from "./missing.js";
import { askToSign } from "./signing.js";
import { Tools } from "./tools.js";

const told = JSON.parse(document.getElementById("case").textContent);
const words = JSON.parse(document.getElementById("say").textContent);
const api = "/api/v1/cases/" + told.id;
const page = "/cases/" + told.id;
const language = document.documentElement.lang.slice(0, 2);
const at = (id) => document.getElementById(id);
const WATCH_MS = 3000;
// Whoever has gone away must not be kept signed in by a page that asks and asks.
const PRESENT_MS = 5 * 60 * 1000;

const tools = new Tools(told, words);
let version = told.version;
let leaving = false;
let busy = false;
// Why nothing of this page may be saved any more, once it is so.
let over = null;
let grading = null;
if (at("form")) grading = new Grading(told, words, { activated: (eye) => tools.activate(eye), changed: () => status() });

function signedOut(now) {
  if (!grading || at("signed-out").hidden !== now) return;
  at("signed-out").hidden = !now;
  status();
}

/** Ask the service as `ask` does; while there is unsaved work the page stays, and says that it is signed out. */
async function send(method, path, body) {
  const stay = Boolean(grading?.unsaved);
  try {
    const answer = await ask(method, path, body, { stay });
    signedOut(false);
    return answer;
  } catch (refusal) {
    if (stay && refusal.status === 401) {
      signedOut(true);
      refusal.message = at("signed-out").innerText;
    }
    throw refusal;
  }
}

/** Say why something was not done, with all that the service found wrong. */
function alarm(refusal) {
  if (refusal.status === 401 && at("signed-out")?.hidden === false) return; // it says so beside the buttons already
  const box = element("div", "", "alert");
  box.append(element("p", refusal.message));
  for (const each of refusal.told?.problems ?? []) box.append(element("p", each[language] + " (" + each.where + ")", "small"));
  at("alerts").replaceChildren(box);
  box.scrollIntoView({ block: "nearest" });
}

function status() {
  if (!at("saved") || !grading) return;
  const unsaved = at("signed-out").hidden ? words.unsaved : words.unsaved_signed_out;
  at("saved").textContent = grading.unsaved ? unsaved : at("saved").dataset.at ?? "";
}

function reload() {
  leaving = true;
  location.reload();
}

/** Do something that must not run twice at once. */
async function alone(what) {
  if (busy) return;
  busy = true;
  try {
    await what();
  } finally {
    busy = false;
  }
}

/** The case can no longer be written: what was typed is shown, to be copied. */
async function closed(why) {
  const dialog = at("closed-dialog");
  dialog.querySelector(".why").textContent = why;
  const opinion = grading.read();
  const lines = [
    ...["OD", "OS"].map((eye) => [words[eye], grading.told_of(eye)]),
    ...Object.entries(opinion.eyes).map(([key, eye]) => [key + " " + words.fields.reason, eye.reason]),
    ...["conclusion", "recommendation", "narrative"].map((name) => [words.fields[name], opinion[name]]),
    ...Object.entries(opinion.texts).map(([name, text]) => [words.answered[name] ?? name, text]),
  ];
  dialog.querySelector(".told").value = lines.filter(([, text]) => text).map(([name, text]) => name + ": " + text).join("\n");
  dialog.querySelector("[data-reload]").onclick = reload;
  await openDialog("closed-dialog");
}

/** What was graded here may be of the other eye, or against answers that are no longer given: this page saves nothing more. */
async function end() {
  over = words.seen_changed;
  alarm({ message: over });
  await closed(over);
}

/** Do what writes, unless this page is over. */
function writing(what) {
  return alone(() => (over ? closed(over) : what()));
}

/** Save the form; where somebody else saved meanwhile, let the doctor choose, then save that. Whether it was saved. */
async function save() {
  const opinion = grading.read();
  at("saved").textContent = words.saving;
  try {
    version = (await send("PUT", api + "/opinion", { version, opinion })).version;
  } catch (refusal) {
    status();
    if (refusal.reason === "stale") return resolve(opinion, refusal);
    if (refusal.reason === "wrong_state") await closed(refusal.message);
    else alarm(refusal);
    return false;
  }
  at("saved").dataset.at = words.saved + " " + new Date().toLocaleTimeString("sv", { timeZone: told.zone, timeStyle: "medium" }) + " " + told.zone;
  at("alerts").replaceChildren();
  at("elsewhere").hidden = true;
  grading.keep(opinion);
  speak(words.saved);
  return true;
}

/** Where the case stands, if it can still be written from this page; else the doctor is told why not. */
async function writable(refusal) {
  let standing;
  try {
    standing = await send("GET", page + "/standing");
  } catch (lost) {
    alarm(lost);
    return null;
  }
  if (!["in_review", "amended"].includes(standing.state)) await closed(refusal.message);
  else if (standing.seen !== told.seen) await end();
  else return standing;
  return null;
}

async function resolve(opinion, refusal) {
  const standing = await writable(refusal);
  if (!standing) return false;
  at("stale-who").textContent = standing.doctor ? words.stale_who.replace("{doctor}", () => standing.doctor) : "";
  const chosen = refusal.told.differences?.length ? await choose(opinion, refusal.told.differences, told, words) : opinion;
  if (!chosen) return false;
  version = refusal.told.version;
  grading.set(chosen);
  return save();
}

function link(entry) {
  const item = document.createElement("li");
  if (!entry.place) item.append(entry.text);
  else {
    const button = element("button", entry.text, "link");
    button.type = "button";
    button.addEventListener("click", () => {
      at("missing-dialog").close();
      entry.place.focus();
      entry.place.scrollIntoView({ block: "center" });
    });
    item.append(button);
  }
  return item;
}

async function showMissing(entries) {
  at("missing-dialog").querySelector(".told").replaceChildren(...entries.map(link));
  await openDialog("missing-dialog");
}

async function sign() {
  const opinion = grading.read();
  const lacks = missing(opinion, grading, told, words);
  if (lacks.length) return showMissing(lacks);
  let foreseen;
  try {
    foreseen = await send("POST", page + "/foreseen", { version, opinion });
  } catch (refusal) {
    return alarm(refusal);
  }
  let refused = null;
  const done = await askToSign(opinion, foreseen, {
    keys: grading.keys, told, words,
    confirm: async () => {
      try {
        await send("POST", api + "/sign", { version, opinion });
        return true;
      } catch (refusal) {
        if (!["stale", "wrong_state", "opinion_refused"].includes(refusal.reason)) throw refusal;
        refused = refusal;
        return false;
      }
    },
  });
  if (done) {
    speak(words.signed);
    return reload();
  }
  if (refused?.reason === "stale") await resolve(opinion, refused);
  else if (refused?.reason === "wrong_state") await closed(refused.message);
  else if (refused) {
    const said = refused.message.split("; ").map((text) => ({ text, place: null }));
    await showMissing([{ text: words.refused_note, place: null }, ...said]);
  }
}

async function storeFirst() {
  const opinion = grading.read();
  const lacks = missing(opinion, grading, { ...told, held: [] }, words).filter((each) => each.place !== at("conclusion"));
  if (lacks.length) return showMissing(lacks);
  const open = grading.left(opinion);
  if (open && !(await sure(words.first_open.replace("{what}", () => open)))) return;
  for (const again of [false, true]) {
    try {
      await send("PUT", api + "/first-read", { version, opinion });
      return reload();
    } catch (refusal) {
      if (refusal.reason !== "stale" || again) return alarm(refusal);
      // A first read stands beside what others wrote: all that matters is that the images are the same.
      if (!(await writable(refusal))) return;
      version = refusal.told.version;
    }
  }
}

async function draft() {
  const note = at("drafted");
  if (grading.unsaved && !(await save())) return;
  note.hidden = false;
  note.textContent = words.drafting;
  try {
    const { draft: made, template } = await send("POST", api + "/draft", { version, language });
    if (!(await grading.take(made.texts, template))) {
      note.hidden = true;
      return;
    }
    const by = made.by === "llm" ? words.by_llm.replace("{model}", () => made.model) : words.by_template;
    const reasons = made.rejected.map((each) => each[language]).join("; ");
    const why = reasons ? " " + words.rejected.replace("{why}", () => reasons) : "";
    note.textContent = by + why;
  } catch (refusal) {
    note.textContent = refusal.status === 404 ? words.no_drafts : refusal.message;
  }
}

async function amend() {
  const reason = at("amend-reason");
  reason.value = "";
  const done = await openDialog("amend-dialog", {
    confirm: async () => {
      await send("POST", api + "/amend", { version, reason: reason.value });
      return true;
    },
    focus: reason,
  });
  if (done) reload();
}

async function patientLink() {
  if (told.link_ends && !(await sure(words.link_replaces.replace("{day}", () => told.link_ends)))) return;
  let made;
  try {
    made = await send("POST", api + "/links", {});
  } catch (refusal) {
    return alarm(refusal.status === 404 ? new Error(words.no_links) : refusal);
  }
  told.link_ends = made.ends_at.slice(0, 10);
  at("link-address").value = made.address;
  at("link-code").value = made.code;
  at("link-ends").textContent = made.ends_at.slice(0, 10);
  at("link-copied").textContent = "";
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.onclick = async () => {
      const field = at(button.dataset.copy);
      field.select();
      await navigator.clipboard.writeText(field.value).catch(() => document.execCommand("copy"));
      at("link-copied").textContent = button.textContent + " ✓";
    };
  }
  await openDialog("link-dialog");
  at("link-code").value = "";
}

/** Ask now and then where the case is: what somebody else did, or a worker, is shown. */
function watch() {
  let present = Date.now();
  for (const kind of ["keydown", "pointerdown", "pointermove", "wheel"]) {
    document.addEventListener(kind, () => { present = Date.now(); }, { passive: true });
  }
  const pending = () => told.working || ["received", "gated", "inferred", "signed"].includes(told.state);
  setInterval(async () => {
    if (document.hidden || busy || over || Date.now() - present > PRESENT_MS) return;
    const now = await send("GET", page + "/standing").catch(() => null);
    if (!now || busy || (now.version === version && now.working === told.working)) return;
    const open = document.querySelector("dialog[open]");
    if (grading?.unsaved && !open && now.seen !== told.seen) return alone(end);
    if (grading?.unsaved || open) at("elsewhere").hidden = now.version === version;
    else if (pending() || now.version !== version) reload();
  }, WATCH_MS);
}

for (const button of document.querySelectorAll("[data-eyes]")) {
  button.addEventListener("click", () => writing(async () => {
    if (grading?.unsaved && !(await sure(words.eyes_unsaved))) return;
    await decideEyes(told, words, { api, version: () => version, done: reload, lost: alarm });
  }));
}
at("reread")?.addEventListener("click", () => writing(async () => {
  if (grading?.unsaved && !(await save())) return;
  try {
    await send("POST", api + "/reread", { version });
    reload();
  } catch (refusal) {
    alarm(refusal);
  }
}));
at("amend")?.addEventListener("click", () => alone(amend));
at("patient-link")?.addEventListener("click", () => alone(patientLink));
onKeys({ n: () => at("next")?.click(), p: () => at("previous")?.click() });
if (!grading) onKeys({ e: () => tools.activate(tools.active === "OD" ? "OS" : "OD") });
if (grading) {
  const main = told.blind ? storeFirst : save;
  at("form").addEventListener("submit", (event) => {
    event.preventDefault();
    writing(main);
  });
  at("sign")?.addEventListener("click", () => writing(sign));
  at("draft")?.addEventListener("click", () => writing(draft));
  // What is previewed is what is stored: what is typed is stored first.
  at("preview")?.addEventListener("click", (event) => {
    if (!grading.unsaved) return;
    event.preventDefault();
    writing(async () => { if (await save()) window.open(at("preview").href, "_blank", "noopener"); });
  });
  onKeys({ w: () => writing(main), s: () => at("sign")?.click(), S: () => at("sign")?.click() });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !document.querySelector("dialog[open]")) {
      event.preventDefault();
      writing(main);
    }
  });
  window.addEventListener("beforeunload", (event) => {
    if (!leaving && grading.unsaved) event.preventDefault();
  });
}
watch();
