// The controls of style mixing: the layers that take the w of another seed, and the image that it gives.

export class StyleControls {
  #at;
  #readSeed;
  #layers = 0;

  // at(id): an element; readSeed(id): the seed in a field, or RangeError.
  constructor(at, readSeed) {
    this.#at = at;
    this.#readSeed = readSeed;
  }

  // Show the controls if the generator has styles; `changed` is called when one of them changes.
  show(styles, changed) {
    if (!styles) return;
    this.#layers = styles.layers;
    this.#at("mixing").hidden = false;
    const range = [Math.floor(styles.layers / 3), Math.floor((2 * styles.layers) / 3) - 1]; // the middle: neither shape nor color
    for (const [id, value] of [["first", range[0]], ["last", Math.max(...range)]])
      Object.assign(this.#at(id), { max: styles.layers - 1, value });
    for (const id of ["mix", "first", "last", "mix-seed"])
      this.#at(id).addEventListener("change", () => {
        if (id !== "mix") this.#at("mix").checked = true;
        changed();
      });
  }

  // Return the mix of a request, none if it is switched off; RangeError with what a field must be.
  mix() {
    if (!this.#layers || !this.#at("mix").checked) return [];
    const [first, last] = ["first", "last"].map((id) => (this.#at(id).value === "" ? NaN : Number(this.#at(id).value)));
    const most = this.#layers - 1;
    if (!Number.isInteger(first) || !Number.isInteger(last) || first < 0 || first > last || last > most)
      throw new RangeError(`The layers must be whole numbers from 0 to ${most}, the first not above the last.`);
    return [{ first, last, seed: this.#readSeed("mix-seed") }];
  }
}

// Return a mix in words, as gan-sample's --mix takes it.
export const worded = (mix) => mix.map(({ first, last, seed }) => `, layers ${first} to ${last} from seed ${seed}`).join("");
