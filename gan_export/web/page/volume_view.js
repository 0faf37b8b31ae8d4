// How the page shows volumes: surfaces in the grid, one that turns in detail, and controls for both.
import { Surface } from "./surface.js";
import { Turntable } from "./turning.js";

const TILE = 96; // pixels of a surface in the grid

export class VolumeView {
  #at;
  #turntable;
  #shown = null; // [volumes, which of them is shown in detail]
  #tiles = new WeakMap(); // what was generated -> the surfaces that were drawn of it
  noun = "Volume";

  // at: an element by its id.  redraw: called if the level or the channel changed, to paint the grid again.
  constructor(at, { depth, height, width, channels }, redraw) {
    this.#at = at;
    this.#turntable = new Turntable(at("single"), this.#level);
    this.size = `${depth} × ${height} × ${width}, ${channels} channel${channels > 1 ? "s" : ""}`;
    document.body.classList.add("volumes");
    document.title = at("title").textContent = "Generated volumes";
    document.querySelector("label[for=count]").textContent = "Volumes";
    at("more").textContent = "Next volumes";
    at("latent-title").textContent = "One volume in detail";
    at("hint").textContent =
      "Click a volume of the grid, or choose one with the arrow keys. Turn it by pointer or with the arrow keys; then change the numbers that it is generated from.";
    at("single").setAttribute("aria-label", "The volume of the sliders; the arrow keys turn it");
    at("turning").hidden = false;
    at("channels").hidden = channels === 1;
    at("channel").append(...Array.from({ length: channels }, (_, i) => new Option(i, i)));
    at("spin").addEventListener("click", () => this.#set("spin", !this.#turntable.spinning));
    at("slices").addEventListener("click", () => this.#set("slices", !this.#turntable.sliced));
    at("level").addEventListener("input", () => {
      this.#turntable.level = this.#level;
      redraw();
    });
    at("channel").addEventListener("change", () => {
      if (this.#shown) this.show(...this.#shown);
      redraw();
    });
    this.#set("spin", !matchMedia("(prefers-reduced-motion: reduce)").matches);
  }

  get #level() {
    return Number(this.#at("level").value);
  }

  get #channel() {
    return Number(this.#at("channel").value);
  }

  #set(button, on) {
    this.#turntable[button === "spin" ? "spinning" : "sliced"] = on;
    this.#at(button).setAttribute("aria-pressed", String(on));
    this.#turntable.draw();
  }

  cellSize() {
    return [TILE, TILE];
  }

  // Return the image of volume i in the grid, which is drawn once per level and channel.
  cell(pictures, i) {
    if (!this.#tiles.has(pictures)) this.#tiles.set(pictures, new Map());
    const drawn = this.#tiles.get(pictures);
    const key = `${i} ${this.#level} ${this.#channel}`;
    if (!drawn.has(key)) {
      const surface = new Surface(pictures.toVolume(i, this.#channel), this.#level);
      drawn.set(key, new ImageData(surface.view(TILE), TILE, TILE));
    }
    return drawn.get(key);
  }

  // Show volume i of `pictures` in detail.
  show(pictures, i = 0) {
    this.#shown = [pictures, i];
    this.#turntable.show(pictures.toVolume(i, this.#channel));
  }
}
