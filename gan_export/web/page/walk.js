// A walk from image to image of a seed, on straight lines between the numbers that they are made from: w of each layer if
// the generator has styles, otherwise latents.  It can be paused and continued.
const STEPS = 60; // most images between two of the seed
const LEAST = 12; // fewest frames of a step, if images take long to draw
const DURATION = 1500; // of the way between two, in milliseconds, unless that would be fewer

export class Walk {
  #button;
  #page;
  #turn = 0; // of the walk that runs; an earlier one ends
  #walking = false;
  #way = null; // {from, to, at: share of the way, latents: those of `to`}
  #next = 0; // image that it leads to
  #here; // latents of the image that it comes from

  // page: begin() -> [image, its latents], latents(image), numbers(latents) -> what moves, or a promise of it,
  // normal() -> whether these are normal latents, show(numbers, latents of the last image that was reached).
  constructor(button, page) {
    this.#button = button;
    this.#page = page;
  }

  // Start, pause or continue.
  turn() {
    if (!this.#walking) return this.#go();
    this.#turn++;
    this.#set(false);
  }

  // Give it up: what is shown next is something else.
  stop() {
    this.#turn++;
    this.#way = null;
    this.#set(false);
  }

  #set(walking) {
    this.#walking = walking;
    this.#button.setAttribute("aria-pressed", String(walking));
    this.#button.textContent = walking ? "Pause" : this.#way ? "Continue" : "Walk";
  }

  async #go() {
    const turn = ++this.#turn;
    if (!this.#way) [this.#next, this.#here] = this.#page.begin();
    this.#set(true);
    try {
      while (turn === this.#turn) {
        const way = this.#way ?? (await this.#further());
        if (turn !== this.#turn) return;
        this.#way = way;
        for (let last = performance.now(); turn === this.#turn && way.at < 1; ) {
          const now = performance.now();
          way.at = Math.min(1, way.at + Math.min(1 / LEAST, Math.max(1 / STEPS, (now - last) / DURATION)));
          last = now;
          await this.#step(way);
          await new Promise((resume) => requestAnimationFrame(resume));
        }
        if (way.at < 1 || turn !== this.#turn) return;
        this.#here = way.latents;
        this.#way = null;
      }
    } finally {
      if (turn === this.#turn) this.#set(false);
    }
  }

  async #further() {
    this.#next += 1;
    const latents = this.#page.latents(this.#next);
    const [from, to] = await Promise.all([this.#page.numbers(this.#here), this.#page.numbers(latents)]);
    return { from, to, latents, at: 0 };
  }

  // Show its present image.  A mix of two normals keeps variance 1 when divided by its norm.
  #step({ from, to, at, latents }) {
    const norm = this.#page.normal() ? Math.hypot(at, 1 - at) : 1;
    const numbers = from.map((v, i) => ((1 - at) * v + at * to[i]) / norm);
    return this.#page.show(numbers, at < 1 ? this.#here : latents);
  }
}
