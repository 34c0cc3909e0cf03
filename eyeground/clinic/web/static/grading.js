// The doctor's form: what it says is an opinion, read from the page and written into it; nothing is kept beside it.

import { onKeys, speak } from "./base.js";
import { sure } from "./dialogs.js";

const EYES = ["OD", "OS"];
const TEXTS = ["conclusion", "recommendation", "narrative"];
const GRADED = "DR";

// What no text may hold, as ``bodies.py`` has it; it comes along with what is pasted, and nobody sees it.
const UNSEEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]/gu;

/** A text as the service takes it. */
function typed(field) {
  return field.value.replace(UNSEEN, "");
}

export class Grading {
  /** @param told - the case; `changed` is called whenever the form says something else. */
  constructor(told, words, { activated, changed }) {
    this.told = told;
    this.words = words;
    this.activated = activated;
    this.changed = changed;
    this.form = document.getElementById("form");
    this.marks = [...this.form.querySelectorAll(".marks")];
    this.keys = [...new Set(this.marks.map((each) => each.dataset.key))];
    this.before = [];
    this.drafts = { ...told.drafts }; // by field the draft that was written there last
    this.active = "OD";
    this.makeReasons();
    this.write(told.opinion);
    this.saved = this.mark = JSON.stringify(this.read());
    this.listen();
    this.activate(this.keys.some((key) => key.endsWith("OD")) ? "OD" : "OS");
  }

  /** The opinion that the form says. */
  read() {
    const eyes = {};
    for (const key of this.keys) {
      const eye = this.bare(key);
      if (!eye.ungradable && !Object.keys(eye.findings).length) continue;
      // A reason that is no longer asked for is not said.
      const reason = this.why(key, eye) ? typed(this.form.querySelector(`[data-reason="${key}"]`)).trim() : "";
      eyes[key] = { ...eye, reason };
    }
    const texts = {};
    for (const name of this.told.texts) texts[name] = typed(this.form.querySelector(`[data-text="${name}"]`));
    const said = Object.fromEntries(TEXTS.map((name) => [name, typed(document.getElementById(name))]));
    return { eyes, ...said, texts };
  }

  /** Let the form say an opinion. */
  write(opinion) {
    for (const each of this.marks) {
      const eye = opinion.eyes?.[each.dataset.key];
      const finding = each.dataset.finding;
      const value = eye?.ungradable && (finding === GRADED || finding === "U") ? "U" : String(eye?.findings?.[finding] ?? "");
      for (const input of each.querySelectorAll("input")) input.checked = input.value === value;
    }
    for (const input of this.form.querySelectorAll("[data-reason]")) {
      input.value = opinion.eyes?.[input.dataset.reason]?.reason ?? "";
    }
    for (const name of TEXTS) document.getElementById(name).value = opinion[name] ?? "";
    for (const area of this.form.querySelectorAll("[data-text]")) area.value = opinion.texts?.[area.dataset.text] ?? "";
    this.show();
  }

  /** The groups of an eye's part. */
  of(key) {
    return this.marks.filter((each) => each.dataset.key === key);
  }

  get unsaved() {
    return JSON.stringify(this.read()) !== this.saved;
  }

  /** What the form says now is what the service has. */
  keep(opinion) {
    this.saved = JSON.stringify(opinion);
    this.show();
  }

  /** Why a reason is asked for of an eye; empty when none is. */
  why(key, eye) {
    if (!eye) return "";
    if (eye.ungradable) return this.words.why_ungradable;
    if (this.told.cannot.includes(key) && Object.keys(eye.findings).length) return this.words.why_graded;
    const said = this.told.said[key] ?? {};
    if (!Object.keys(eye.findings).length) return "";
    const other = Object.keys(eye.findings).filter((name) => name in said && said[name].value !== eye.findings[name]);
    // What the models find must not vanish because nobody says anything of it.
    const open = Object.keys(said).filter((name) => said[name].value && !(name in eye.findings));
    const named = (names) => names.map((name) => (name.length < 4 ? name : this.told.titles[name])).join(this.words.and);
    return [[this.words.differs, other], [this.words.left_open, open]]
      .filter(([, names]) => names.length)
      .map(([text, names]) => text.replace("{what}", () => named(names)))
      .join(" ");
  }

  /** What is said of an eye, but for its reason. */
  bare(key) {
    const findings = {};
    let ungradable = false;
    for (const each of this.of(key)) {
      const value = each.querySelector("input:checked")?.value ?? "";
      if (value === "U") ungradable = true;
      else if (value !== "") findings[each.dataset.finding] = Number(value);
    }
    return { findings: ungradable ? {} : findings, ungradable };
  }

  makeReasons() {
    for (const box of this.form.querySelectorAll(".why")) {
      const input = box.querySelector("input");
      const chips = box.querySelector(".chips");
      for (const [name, text] of Object.entries(this.words.reasons)) {
        const chip = document.createElement("button");
        chip.type = "button";
        chip.className = "plain chip";
        chip.textContent = text;
        chip.dataset.kind = name.split("_")[0];
        chip.addEventListener("click", () => {
          input.value = input.value.trim() ? input.value.trim() + this.words.and + text : text;
          this.note();
          input.focus();
        });
        chips.append(chip);
      }
    }
  }

  /** Bring what depends on the answers up to date. */
  show() {
    for (const key of this.keys) {
      const eye = this.bare(key);
      const why = this.why(key, eye);
      const box = this.form.querySelector(`[data-why="${key}"]`);
      const asked = box.hidden && why && this.mark !== undefined;
      box.hidden = !why;
      box.querySelector(".why-text").textContent = why;
      if (asked) box.scrollIntoView({ block: "nearest" });
      for (const chip of box.querySelectorAll(".chip")) chip.hidden = (chip.dataset.kind === "ungradable") !== eye.ungradable;
      for (const each of this.of(key)) {
        if (!["U", GRADED].includes(each.dataset.finding)) each.disabled = eye.ungradable;
      }
    }
    this.changed();
  }

  /** Remember what was said before, for undo. */
  note() {
    const now = JSON.stringify(this.read());
    if (now === this.mark) return;
    this.before.push(this.mark);
    if (this.before.length > 200) this.before.shift();
    this.mark = now;
    this.show();
  }

  /** Let the form say something else, which can be undone; so can what was typed before, and not left yet. */
  set(opinion) {
    this.note();
    this.write(opinion);
    this.note();
  }

  undo() {
    const before = this.before.pop();
    if (before === undefined) return speak(this.words.nothing_to_undo);
    this.write(JSON.parse(before));
    this.mark = JSON.stringify(this.read());
    speak(this.words.undone);
  }

  listen() {
    this.form.addEventListener("change", (event) => {
      const key = event.target.closest(".marks")?.dataset.key;
      if (key) this.activate(key.split("/")[1]);
      this.note();
    });
    this.form.addEventListener("input", () => this.changed());
    // A grade that was given by mistake is taken back by choosing it again.
    for (const each of this.marks.filter((group) => group.dataset.finding === GRADED)) {
      for (const input of each.querySelectorAll("input")) {
        input.closest("label").addEventListener("pointerdown", () => { input.dataset.was = String(input.checked); });
        input.addEventListener("click", () => {
          if (input.dataset.was === "true") {
            input.checked = false;
            this.note();
          }
          delete input.dataset.was;
        });
      }
    }
    for (const button of document.querySelectorAll("[data-activate]")) {
      button.addEventListener("click", () => this.activate(button.dataset.activate));
    }
    for (const eye of document.querySelectorAll(".eye")) {
      // An earlier visit's picture is looked at there: it is of the eye that is active already.
      const pressed = () => { if (!eye.classList.contains("past")) this.activate(eye.dataset.eye); };
      eye.addEventListener("pointerdown", pressed);
      eye.querySelector(".stage").addEventListener("focus", pressed);
    }
    document.getElementById("as-ai")?.addEventListener("click", () => this.asAI());
    document.getElementById("rest")?.addEventListener("click", () => this.rest());
    document.getElementById("undo")?.addEventListener("click", () => this.undo());
    document.getElementById("conclude")?.addEventListener("click", () => this.conclude());
    document.getElementById("preset").addEventListener("change", (event) => {
      const ours = [...event.target.options].map((each) => each.value);
      if (event.target.value) this.put("recommendation", event.target.value, ours);
      event.target.selectedIndex = 0;
    });
    const grade = (value) => () => this.grade(value);
    onKeys({
      ...Object.fromEntries(["0", "1", "2", "3", "4"].map((value) => [value, grade(value)])), u: grade("U"), U: grade("U"),
      e: () => this.activate(this.active === "OD" ? "OS" : "OD"), a: () => this.asAI(), x: () => this.rest(),
      z: () => this.undo(), g: () => this.conclude(),
    });
  }

  activate(eye) {
    const said = this.active !== eye;
    this.active = eye;
    for (const each of document.querySelectorAll("[data-eye]")) each.classList.toggle("active", each.dataset.eye === eye);
    if (said) speak(this.words.active_eye.replace("{eye}", () => this.words[eye]));
    this.activated(eye);
  }

  /** Grade the active eye by key. */
  grade(value) {
    const group = this.of("fundus/" + this.active)[0] ?? this.of("anterior/" + this.active)[0];
    const input = group && [...group.querySelectorAll("input")].find((each) => each.value === value);
    if (!input) return;
    input.checked = input.type === "radio" || !input.checked;
    this.note();
    const said = value === "U" ? this.words.ungradable : this.told.grades[value];
    speak(this.words[this.active] + " " + said);
  }

  /** Take the models' answers over for what is left open of the active eye; what the doctor said stays. */
  asAI() {
    if (this.told.blind) return;
    const opinion = this.read();
    for (const key of this.keys.filter((each) => each.endsWith(this.active))) {
      const said = this.told.said[key];
      if (opinion.eyes[key]?.ungradable) continue;
      if (said) {
        const eye = (opinion.eyes[key] ??= { findings: {}, ungradable: false, reason: "" });
        for (const [name, each] of Object.entries(said)) eye.findings[name] ??= each.value;
      } else if (this.told.cannot.includes(key)) opinion.eyes[key] ??= { findings: {}, ungradable: true, reason: "" };
    }
    this.set(opinion);
    speak(this.words.as_ai_done.replace("{eye}", () => this.words[this.active]));
  }

  /** Say no to what is left open of the active eye. */
  rest() {
    const opinion = this.read();
    for (const key of this.keys.filter((each) => each.endsWith(this.active))) {
      if (opinion.eyes[key]?.ungradable) continue;
      opinion.eyes[key] ??= { findings: {}, ungradable: false, reason: "" };
      for (const each of this.of(key)) {
        const name = each.dataset.finding;
        if (name !== "U" && name !== GRADED) opinion.eyes[key].findings[name] ??= 0;
      }
    }
    this.set(opinion);
    speak(this.words.rest_done.replace("{eye}", () => this.words[this.active]));
  }

  /** Say in words what was graded of an eye. */
  told_of(eye, { open = false } = {}) {
    const said = [];
    for (const key of this.keys.filter((each) => each.endsWith("/" + eye))) {
      const mine = this.read().eyes[key];
      const part = this.told.parts.length > 1 ? this.words[key.split("/")[0]] + " " : "";
      if (!mine) {
        if (open) said.push(part + this.words.nothing_said);
        continue;
      }
      if (mine.ungradable) {
        said.push(part + this.words.ungradable);
        continue;
      }
      const names = Object.keys(mine.findings);
      const found = names.filter((name) => name !== GRADED && mine.findings[name]).map((name) => this.told.titles[name]);
      if (GRADED in mine.findings && (mine.findings[GRADED] || !found.length)) found.unshift(this.told.grades[mine.findings[GRADED]]);
      said.push(part + (found.join(this.words.and) || this.words.nothing_of));
    }
    return said.join(this.words.and);
  }

  /** What an opinion leaves open, by eye; empty where it is whole. */
  left(opinion) {
    const lines = [];
    for (const key of this.keys) {
      const [part, eye] = key.split("/");
      const mine = opinion.eyes[key];
      if (mine?.ungradable) continue;
      const open = this.told.findings[part].filter((name) => mine?.findings[name] === undefined);
      const named = open.map((name) => (name.length < 4 ? name : this.told.titles[name]));
      if (open.length) lines.push(this.words[eye] + " " + named.join(this.words.and));
    }
    return lines.join("; ");
  }

  /** A text without the note of a draft, which the service takes out: what is left may be nothing. */
  settled(text) {
    return this.told.notes.reduce((left, note) => left.replaceAll(note, ""), text).trim();
  }

  /** Whether a text may be written over: nothing stands there, or nothing that somebody wrote himself. */
  free(before, text, ours) {
    return !this.settled(before) || before.trim() === text.trim() || ours.some((each) => each.trim() === before.trim());
  }

  replaces(names) {
    return sure(this.words.replaces.replace("{field}", () => names.join(this.words.and)));
  }

  /** Write into a field; what somebody typed there is replaced only when he says so. */
  async put(name, text, ours) {
    const area = document.getElementById(name);
    if (!this.free(area.value, text, ours) && !(await this.replaces([this.words.fields[name]]))) return;
    this.note();
    area.value = text;
    this.note();
  }

  /**
   * Write drafted texts; what is neither an earlier draft nor the template's is replaced only when the doctor says so.
   * Whether anything was written.
   */
  async take(texts, template) {
    const opinion = this.read();
    const drafted = Object.entries(texts).filter(([name]) => name === "narrative" || this.told.texts.includes(name));
    const own = drafted.filter(([name, text]) => {
      const before = name === "narrative" ? opinion.narrative : opinion.texts[name];
      return !this.free(before, text, [template[name] ?? "", this.drafts[name] ?? ""]);
    }).map(([name]) => name);
    const named = own.map((name) => this.words.fields[name] ?? this.words.answered[name]);
    const whole = !own.length || (await this.replaces(named));
    const taken = drafted.filter(([name]) => whole || !own.includes(name));
    for (const [name, text] of taken) {
      if (name === "narrative") opinion.narrative = text;
      else opinion.texts[name] = text;
      this.drafts[name] = text;
    }
    this.set(opinion);
    return taken.length > 0;
  }

  conclude() {
    if (!this.keys.length) return;
    const text = this.concluding();
    this.put("conclusion", text, [this.concluded ?? ""]);
    this.concluded = text;
  }

  /** The conclusion that the grades make now. */
  concluding() {
    const none = this.told.held.length ? this.words.eye_undecided : this.words.not_examined;
    const lines = EYES.map((eye) => [eye, this.keys.some((key) => key.endsWith(eye)) ? this.told_of(eye) : none]);
    return lines
      .filter(([, what]) => what)
      .map(([eye, what]) => this.words.conclude.replace("{eye}", () => this.words[eye]).replace("{what}", () => what))
      .join(this.words.stop);
  }
}
