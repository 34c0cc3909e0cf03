// One eye's dark viewer: a picture that is moved and scaled by its transform alone, so that nothing is decoded again.

import { heatOf, picture } from "./picture.js";

const MOST = 40; // image pixels are then squares of 40 screen pixels

export class Viewer {
  /** @param root - the element of an eye; `words` of the page; `moved` is told how far, so that the other eye follows. */
  constructor(root, words, moved) {
    this.root = root;
    this.words = words;
    this.moved = moved;
    this.stage = root.querySelector(".stage");
    this.plane = root.querySelector(".plane");
    this.image = root.querySelector("img");
    this.canvas = root.querySelector("canvas");
    this.notice = root.querySelector(".notice");
    this.told = root.querySelector(".told");
    this.shown = null;
    this.slice = null;
    this.scale = 1;
    this.left = 0;
    this.top = 0;
    this.fitted = true;
    this.heat = false;
    this.mapped = ""; // whether there is a heat map of what is shown: "here", or "beside" where it is of another slice
    this.targets = {}; // by part of the eye the finding whose heat map is shown
    this.dragging = null; // what dragging does instead of panning
    this.pointers = new Map();
    this.turn = 0;
    this.listen();
    new ResizeObserver(() => { if (this.fitted) this.fit(); else this.place(); }).observe(this.stage);
  }

  /** Show a picture; `title` says which, beside the eye. */
  async show(image, title = "", slice = null) {
    const turn = ++this.turn;
    const other = !this.shown || this.shown.case !== image.case || this.shown.place !== image.place;
    this.shown = image;
    this.told.textContent = title;
    if (other) this.say(this.words.loading);
    try {
      const { url, slices } = await picture(image, slice);
      const next = new Image();
      next.src = url;
      await next.decode();
      if (turn !== this.turn) return;
      this.image.src = url;
      this.image.hidden = false;
      this.width = next.naturalWidth;
      this.height = next.naturalHeight;
      this.image.style.width = this.canvas.style.width = this.width + "px";
      this.image.style.height = this.canvas.style.height = this.height + "px";
      this.say("");
      if (other) this.fit();
      image.slices = slices;
      this.slice = slice;
      await this.showHeat(this.heat);
    } catch (error) {
      if (turn !== this.turn) return;
      this.image.hidden = true;
      this.canvas.hidden = true;
      this.say(this.words.no_image.replace("{why}", () => error.message));
    }
  }

  say(text) {
    this.notice.textContent = text;
    this.notice.hidden = !text;
  }

  /** Models look at the middle slice of a volume, which is what is shown unless one is asked for. */
  get modelled() {
    return this.slice === null || this.slice === Math.floor(this.shown.slices / 2);
  }

  /** Whether the heat map lies over the picture; never over a slice that no model has looked at. */
  async showHeat(on) {
    this.heat = on;
    const image = this.shown;
    this.canvas.hidden = true;
    const target = image && this.targets[image.part];
    this.mapped = !image?.heat.includes(target) ? "" : this.modelled ? "here" : "beside";
    if (!on || this.image.hidden || this.mapped !== "here") return;
    try {
      const map = await heatOf(image, target);
      if (image !== this.shown || !this.heat || target !== this.targets[image.part] || !this.modelled) return;
      this.canvas.width = map.width;
      this.canvas.height = map.height;
      this.canvas.getContext("2d").drawImage(map, 0, 0);
      this.canvas.hidden = false;
    } catch {
      this.mapped = "";
    }
  }

  get least() {
    return this.width ? Math.min(this.stage.clientWidth / this.width, this.stage.clientHeight / this.height) : 1;
  }

  fit() {
    if (!this.width) return;
    this.scale = this.least;
    this.left = (this.stage.clientWidth - this.width * this.scale) / 2;
    this.top = (this.stage.clientHeight - this.height * this.scale) / 2;
    this.fitted = true;
    this.place();
  }

  /** One image pixel on one pixel of the screen, about the middle of what is seen. */
  one() {
    this.zoom(1 / devicePixelRatio / this.scale);
  }

  /** Scale about a point of the stage. */
  zoom(factor, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
    if (!this.width) return;
    const scale = Math.min(MOST, Math.max(this.least, this.scale * factor));
    const share = scale / this.scale;
    this.left = x - (x - this.left) * share;
    this.top = y - (y - this.top) * share;
    this.scale = scale;
    this.fitted = scale <= this.least * 1.0001;
    this.place();
  }

  pan(x, y) {
    this.left += x;
    this.top += y;
    this.place();
  }

  /** Keep the picture on the stage, then put it there. */
  place() {
    if (!this.width) return;
    const inside = (at, room, size) => (size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, at)));
    this.left = inside(this.left, this.stage.clientWidth, this.width * this.scale);
    this.top = inside(this.top, this.stage.clientHeight, this.height * this.scale);
    this.plane.style.transform = `translate(${this.left}px, ${this.top}px) scale(${this.scale})`;
    this.root.dataset.scale = this.scale.toFixed(4);
  }

  listen() {
    const stage = this.stage;
    const at = (event) => {
      const box = stage.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      const [x, y] = at(event);
      const lines = event.deltaMode === 1 ? 16 : 1;
      this.moved(this, { zoom: Math.exp(-event.deltaY * lines * 0.002), x: x / stage.clientWidth, y: y / stage.clientHeight });
    }, { passive: false });
    stage.addEventListener("pointerdown", (event) => {
      stage.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, at(event));
    });
    stage.addEventListener("pointermove", (event) => {
      const before = this.pointers.get(event.pointerId);
      if (!before) return;
      const now = at(event);
      const other = [...this.pointers.entries()].find(([id]) => id !== event.pointerId)?.[1];
      this.pointers.set(event.pointerId, now);
      const [x, y] = [now[0] - before[0], now[1] - before[1]];
      if (other) {
        const away = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
        this.moved(this, {
          zoom: away(now) / away(before),
          x: (now[0] + other[0]) / 2 / stage.clientWidth,
          y: (now[1] + other[1]) / 2 / stage.clientHeight,
        });
        this.moved(this, { pan: [x / 2, y / 2] });
      } else if (this.dragging) this.dragging(x, y);
      else this.moved(this, { pan: [x, y] });
    });
    for (const end of ["pointerup", "pointercancel"]) {
      stage.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    }
    stage.addEventListener("dblclick", () => this.moved(this, this.fitted ? { one: true } : { fit: true }));
  }
}
