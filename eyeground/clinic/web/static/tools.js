// What is done to both eyes' pictures: zoom and pan together, red-free, contrast, inversion, heat map, strips, visits.

import { onKeys, speak } from "./base.js";
import { picture } from "./picture.js";
import { Viewer } from "./viewer.js";

const STEP = 1.25;
const EYES = ["OD", "OS"];

export class Tools {
  constructor(told, words) {
    this.told = told;
    this.words = words;
    this.pressed = { red_free: false, contrast: false, invert: false, link: true, heat: false };
    this.contrast = 100;
    this.brightness = 100;
    this.visit = null;
    this.active = "OD";
    this.viewers = {};
    this.at = { OD: 0, OS: 0 };
    this.mine = Object.fromEntries(EYES.map((eye) => [eye, told.images.filter((each) => each.eye === eye)]));
    for (const root of document.querySelectorAll(".eye")) {
      const own = { loading: document.querySelector(".notice").textContent, no_image: words.no_image };
      this.viewers[root.dataset.eye] = new Viewer(root, own, (viewer, what) => this.move(viewer, what));
      this.makeStrip(root, root.dataset.eye);
    }
    this.makeTargets();
    for (const eye of EYES) this.show(eye);
    for (const button of document.querySelectorAll("[data-tool]")) {
      button.addEventListener("click", () => this.use(button.dataset.tool));
    }
    for (const button of document.querySelectorAll("[data-visit]")) {
      button.addEventListener("click", () => this.compare(Number(button.dataset.visit)));
    }
    document.getElementById("opacity")?.addEventListener("input", () => this.filter());
    if (this.viewers.OD) this.keys();
    this.filter();
  }

  /** Do to a viewer what its user did, and to the other one as well while they are linked. */
  move(viewer, { zoom, pan, one, fit, x = 0.5, y = 0.5 }) {
    const both = this.pressed.link ? Object.values(this.viewers) : [viewer];
    for (const each of both) {
      if (zoom) each.zoom(zoom, x * each.stage.clientWidth, y * each.stage.clientHeight);
      if (pan) each.pan(...pan);
      if (one) each.one();
      if (fit) each.fit();
    }
  }

  /** Both while linked, else the active eye. */
  each(what) {
    this.move(this.viewers[this.active], what);
  }

  keys() {
    onKeys({
      "+": () => this.use("zoom_in"), "=": () => this.use("zoom_in"), "-": () => this.use("zoom_out"),
      f: () => this.use("fit"), o: () => this.use("one"), r: () => this.use("red_free"), c: () => this.use("contrast"),
      C: () => this.use("reset"), i: () => this.use("invert"), h: () => this.use("heat"), l: () => this.use("link"),
      t: () => this.show(this.active, (this.at[this.active] + 1) % Math.max(1, this.mine[this.active].length)),
      v: () => this.nextVisit(),
    });
    // These belong to the form while the focus is there: they move within a group, and scroll.
    const pan = (x, y) => (this.pressed.contrast ? this.drag(-x / 16, y / 16) : this.each({ pan: [x, y] }));
    const actions = {
      ArrowLeft: () => pan(80, 0), ArrowRight: () => pan(-80, 0), ArrowUp: () => pan(0, 80), ArrowDown: () => pan(0, -80),
      PageUp: () => this.turn(-1), PageDown: () => this.turn(1),
    };
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      if (event.key === "Escape" && event.target.closest(".panel")) document.activeElement.blur();
      const action = actions[event.key];
      if (!action || event.target.closest(".panel, input, select, textarea")) return;
      event.preventDefault();
      action();
    });
  }

  use(tool) {
    if (tool === "zoom_in") this.each({ zoom: STEP });
    else if (tool === "zoom_out") this.each({ zoom: 1 / STEP });
    else if (tool === "fit") this.each({ fit: true });
    else if (tool === "one") this.each({ one: true });
    else if (tool === "reset") {
      this.contrast = this.brightness = 100;
      this.filter();
    } else this.press(tool);
  }

  press(tool) {
    const button = document.querySelector(`[data-tool="${tool}"]`);
    if (!button) return;
    const on = (this.pressed[tool] = !this.pressed[tool]);
    button.setAttribute("aria-pressed", String(on));
    speak(button.lastChild.textContent.trim() + " " + (on ? this.words.on : this.words.off));
    if (tool === "contrast") {
      for (const each of Object.values(this.viewers)) each.dragging = on ? (x, y) => this.drag(x / 2, -y / 2) : null;
    }
    if (tool === "heat") this.showHeat();
    this.filter();
  }

  /** Offer the findings that heat maps explain, where there are several of a part: each has a map of its own. */
  makeTargets() {
    const known = {};
    for (const { part, heat } of this.told.images) known[part] = [...new Set([...(known[part] ?? []), ...heat])];
    const targets = Object.fromEntries(Object.entries(known).map(([part, of]) => [part, of[0]]));
    for (const each of Object.values(this.viewers)) each.targets = targets;
    const chosen = document.getElementById("heat-of");
    const several = Object.entries(known).filter(([, of]) => of.length > 1);
    if (!several.length || !chosen) return;
    const offered = several.flatMap(([part, of]) => of.map((target) => ({ part, target })));
    chosen.replaceChildren(...offered.map(({ target }) => new Option(this.told.titles[target] ?? target, target)));
    chosen.parentElement.hidden = false;
    chosen.addEventListener("change", () => {
      const { part, target } = offered[chosen.selectedIndex];
      targets[part] = target;
      if (this.pressed.heat) this.showHeat();
    });
  }

  async showHeat() {
    await Promise.all(Object.values(this.viewers).map((each) => each.showHeat(this.pressed.heat)));
    this.tellHeat();
  }

  /** Say of what there is a heat map, and of which eye a slice is shown that none belongs to. */
  tellHeat() {
    const viewers = Object.entries(this.viewers);
    const shown = viewers.filter(([, each]) => each.mapped === "here").map(([, each]) => each.targets[each.shown.part]);
    const named = [...new Set(shown)].map((target) => this.told.titles[target] ?? target).join(this.words.and);
    const beside = viewers.filter(([, each]) => each.mapped === "beside");
    const why = beside.map(([eye]) => this.words.heat_slice.replace("{eye}", () => this.words[eye])).join("; ");
    const said = [named && this.words.heat_caption.replace("{finding}", () => named), why].filter(Boolean).join("; ");
    document.querySelector("#heat-now em").textContent = said || this.words.no_heat;
    const button = document.querySelector('[data-tool="heat"]');
    if (button) button.title = why;
  }

  drag(x, y) {
    const within = (value, least, most) => Math.min(most, Math.max(least, Math.round(value)));
    this.contrast = within(this.contrast + x, 20, 400);
    this.brightness = within(this.brightness + y, 20, 300);
    this.filter();
  }

  filter() {
    const { red_free, invert, contrast, heat } = this.pressed;
    const changed = this.contrast !== 100 || this.brightness !== 100;
    const parts = [
      red_free && "url(#red-free)", changed && `brightness(${this.brightness}%) contrast(${this.contrast}%)`,
      invert && "invert(1)",
    ].filter(Boolean);
    for (const each of Object.values(this.viewers)) {
      each.image.style.filter = parts.join(" ") || "none";
      each.canvas.style.opacity = document.getElementById("opacity").value / 100;
      each.stage.classList.toggle("adjusting", contrast);
    }
    const now = document.getElementById("contrast-now");
    if (!now) return;
    now.hidden = !contrast && !changed;
    const said = this.words.contrast_now.replace("{contrast}", () => this.contrast).replace("{brightness}", () => this.brightness);
    now.querySelector("output").textContent = said + (contrast ? " · " + this.words.contrast_how : "");
    document.getElementById("heat-now").hidden = !heat;
  }

  makeStrip(root, eye) {
    const strip = root.querySelector(".strip");
    const images = this.mine[eye];
    strip.hidden = images.length < 2;
    if (strip.hidden) return;
    images.forEach((image, place) => {
      const button = document.createElement("button");
      const small = document.createElement("img");
      button.type = "button";
      button.className = "thumb";
      button.setAttribute("aria-pressed", "false");
      small.alt = "";
      picture(image).then(({ url }) => { small.src = url; }, () => undefined);
      button.append(small, this.name(image, place));
      button.addEventListener("click", () => this.show(eye, place));
      strip.append(button);
    });
  }

  name(image, place) {
    return this.words[image.part] + (this.told.images.length > 2 ? " " + (place + 1) : "");
  }

  /** Show one of an eye's own pictures. */
  async show(eye, place = 0) {
    const viewer = this.viewers[eye];
    const image = this.mine[eye]?.[place];
    if (!viewer || !image) return;
    this.at[eye] = place;
    viewer.root.querySelectorAll(".thumb").forEach((each, at) => each.setAttribute("aria-pressed", String(at === place)));
    const box = viewer.root.querySelector(".slices");
    box.hidden = true;
    await viewer.show(image, this.name(image, place));
    this.tellHeat();
    if (viewer.shown !== image || !(image.slices > 1)) return;
    const range = box.querySelector("input");
    box.hidden = false;
    range.max = image.slices - 1;
    range.value = Math.floor(image.slices / 2);
    box.querySelector("output").textContent = this.words.slice_middle.replace("{all}", () => image.slices);
    range.oninput = () => this.slice(eye, Number(range.value));
  }

  async slice(eye, number) {
    const image = this.mine[eye][this.at[eye]];
    const box = this.viewers[eye].root.querySelector(".slices");
    box.querySelector("input").value = number;
    box.querySelector("output").textContent = this.words.slice.replace("{now}", number + 1).replace("{all}", () => image.slices);
    await this.viewers[eye].show(image, this.name(image, this.at[eye]), number);
    this.tellHeat();
  }

  turn(step) {
    const image = this.mine[this.active][this.at[this.active]];
    const range = this.viewers[this.active].root.querySelector(".slices input");
    if (!(image?.slices > 1)) return;
    this.slice(this.active, Math.min(image.slices - 1, Math.max(0, Number(range.value) + step)));
  }

  nextVisit() {
    const next = this.visit === null ? 0 : this.visit + 1;
    if (next < this.told.earlier.length) this.compare(next);
    else if (this.visit !== null) this.compare(this.visit);
  }

  /** Show an earlier picture of the active eye where the other eye is; once more ends it. */
  compare(place) {
    this.visit = this.visit === place ? null : place;
    for (const button of document.querySelectorAll("[data-visit]")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.visit) === this.visit));
    }
    for (const eye of EYES) {
      this.viewers[eye].root.classList.remove("past");
      this.show(eye, this.at[eye]);
    }
    if (this.visit === null) return;
    const other = EYES.find((eye) => eye !== this.active);
    const visit = this.told.earlier[this.visit];
    const now = this.mine[this.active][this.at[this.active]];
    const mine = visit.images.filter((each) => each.eye === this.active);
    const image = mine.find((each) => each.part === now?.part) ?? mine[0];
    const viewer = this.viewers[other];
    viewer.root.classList.add("past");
    if (image) {
      const said = this.words[this.active] + " · " + this.words.earlier_image.replace("{date}", () => visit.date);
      viewer.show({ ...image, heat: [] }, said).then(() => this.tellHeat());
      speak(said);
    } else {
      viewer.image.hidden = viewer.canvas.hidden = true;
      viewer.shown = null;
      viewer.mapped = "";
      viewer.turn += 1;
      viewer.told.textContent = "";
      viewer.say(this.words.no_earlier_image.replace("{date}", () => visit.date));
    }
  }

  /** The eye that keys are about. */
  activate(eye) {
    if (this.active === eye) return;
    this.active = eye;
    if (this.visit !== null) {
      const visit = this.visit;
      this.visit = null;
      this.compare(visit);
    }
  }
}
