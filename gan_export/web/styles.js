// A style-based generator in two parts, each of which is a backend of gan.js: its mapping, from z (and a label) to ws,
// a w for each layer, and its synthesis, from ws to the image.
import { draw, table } from "./latents.js";

const RANDOM = -1; // the label of a request
const MOST_MIXES = 64;

export class StyleBackend {
  #mapping;
  #synthesis;
  #table;

  constructor(mapping, synthesis) {
    const { latentSize, classes, prior, scalars, width: layers, channels: features, kind } = mapping.info;
    const takes = synthesis.info.prior === "none" ? synthesis.info.latentSize : 0;
    if (kind !== "values" || takes !== layers * features)
      throw new Error("the mapping and the generator don't belong together: export both with gan-export native --split");
    this.#mapping = mapping;
    this.#synthesis = synthesis;
    this.info = { ...synthesis.info, latentSize, classes, prior, scalars, styles: { layers, features } };
  }

  get name() {
    return this.#synthesis.name;
  }

  // Return the ws of a request, count x layers x features.
  async map({ ws, mix, ...request }) {
    const made = ws ? ws.slice() : await this.#mapping.generate(request);
    const { layers, features } = this.info.styles;
    for (const { first, last, seed } of mix) {
      const other = await this.#mapping.generate({ ...request, latents: this.#latents(seed, request.count) });
      for (let row = 0; row < made.length; row += layers * features) {
        const [from, to] = [row + first * features, row + (last + 1) * features];
        made.set(other.subarray(from, to), from);
      }
    }
    return made;
  }

  async generate(request) {
    const { seed, start, count } = request;
    return this.#synthesis.generate({ seed, start, count, label: RANDOM, latents: await this.map(request), scalars: null });
  }

  // The latent of image 0 of a seed, for each of `count` images: their labels may differ.
  #latents(seed, count) {
    const { latentSize, prior } = this.info;
    this.#table ??= table(prior);
    const z = draw(this.#table, seed, 0n, 1, latentSize);
    const all = new Float32Array(count * latentSize);
    for (let i = 0; i < count; i++) all.set(z, i * latentSize);
    return all;
  }

  close() {
    this.#mapping.close();
    this.#synthesis.close();
  }
}

// Return the part of a request for these generators, checked: {ws, mix}.
export function checkedStyles(info, { ws = null, mix = [] }, wholeSeed) {
  if (!info.styles) {
    if (ws || mix.length) throw new TypeError("ws and mix: this generator was opened without a mapping");
    return { ws, mix };
  }
  const { layers, features } = info.styles;
  if (ws && (!(ws instanceof Float32Array) || !ws.length || ws.length % (layers * features)))
    throw new TypeError(`ws: must be a Float32Array of whole rows of ${layers} x ${features}`);
  if (!Array.isArray(mix) || mix.length > MOST_MIXES) throw new TypeError(`mix: must be a list of at most ${MOST_MIXES}`);
  return { ws, mix: mix.map(({ first, last = first, seed }) => {
    if (!Number.isInteger(first) || !Number.isInteger(last) || first < 0 || first > last || last >= layers)
      throw new RangeError(`mix of layers ${first} to ${last}: this generator has the layers 0 to ${layers - 1}`);
    return { first, last, seed: wholeSeed("the seed of a mix", seed) };
  }) };
}
