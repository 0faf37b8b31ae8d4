// Generate images from a generator file, in a browser or in Node.
//
//   const generator = await open("generator.gan");
//   const images = await generator.generate({ seed: 7n, count: 16 });
//   context.putImageData(images.toImageData(0), 0, 0);
//
// gan.d.ts documents the API.  The engine runs in workers, each with an instance of its own, so that a page stays
// responsive and several workers need no special headers (COOP, COEP).
import { bestBuild, bytesOf } from "./engine.js";
import { draw, labels, table } from "./latents.js";
import { checkedStyles, StyleBackend } from "./styles.js";
import { padded, plan, piece, put } from "./tiles.js";

const CHUNK = 32; // images per message to a worker
const MOST_BYTES = 2 ** 30;
const MOST_WORKERS = 16;
const SEEDS = 2n ** 64n;
const LABELS = { random: -1, all: -2 };

export class Pictures {
  constructor(data, count, info, milliseconds) {
    this.data = data;
    this.count = count;
    this.width = info.width;
    this.height = info.height;
    this.depth = info.depth ?? 0;
    this.channels = info.channels;
    this.milliseconds = milliseconds;
  }

  // Return image i as RGBA: gray is repeated, and of more than three channels the first three are shown.
  toImageData(i) {
    const { width, height, channels } = this;
    if (this.depth) throw new TypeError("these are volumes: use toVolume");
    this.#check(i);
    const rgba = new Uint8ClampedArray(width * height * 4);
    let from = i * width * height * channels;
    for (let to = 0; to < rgba.length; to += 4, from += channels) {
      rgba[to] = this.data[from];
      rgba[to + 1] = this.data[channels < 3 ? from : from + 1];
      rgba[to + 2] = this.data[channels < 3 ? from : from + 2];
      rgba[to + 3] = 255;
    }
    return typeof ImageData === "undefined" ? { data: rgba, width, height } : new ImageData(rgba, width, height);
  }

  // Return one channel of volume i, depth x height x width bytes, as surface.js draws it.
  toVolume(i, channel = 0) {
    const { depth, height, width, channels } = this;
    if (!depth) throw new TypeError("these are images: use toImageData");
    this.#check(i);
    if (!Number.isInteger(channel) || channel < 0 || channel >= channels)
      throw new RangeError(`channel ${channel}: must be 0 to ${channels - 1}`);
    const size = bytesOf(this);
    const all = this.data.subarray(i * size, (i + 1) * size);
    const data = channels === 1 ? all : all.filter((_, at) => at % channels === channel);
    return { data, depth, height, width };
  }

  #check(i) {
    if (!Number.isInteger(i) || i < 0 || i >= this.count) throw new RangeError(`image ${i}: must be 0 to ${this.count - 1}`);
  }
}

// A generator that runs on a backend: {info, generate(request) -> Uint8Array, close()}, and with styles map(request).
export class Generator {
  #backend;
  #table;

  constructor(backend) {
    this.#backend = backend;
    this.info = backend.info;
  }

  get backend() {
    return this.#backend.name;
  }

  latents({ seed, start = 0n, count = 1 }) {
    const request = checked(this.info, { seed, start, count });
    this.#table ??= table(this.info.prior);
    return draw(this.#table, request.seed, request.start, request.count, this.info.latentSize);
  }

  // Return what a generator of images makes of one: {data, width, height}, of info.input.channels bytes a pixel.
  // progress(done, total) is called for each tile; overlap is how far tiles reach beyond themselves; seed: of noise,
  // such as dropout's, which belongs to the whole image.
  async apply(image, { progress = () => {}, tile = 256, overlap = 32, seed = 0n } = {}) {
    const { input, channels } = this.info;
    if (!input) throw new TypeError("this generator takes latents: use generate");
    const { data, width, height } = image;
    if (!(width > 0 && height > 0) || data?.length !== width * height * input.channels)
      throw new TypeError(`image: must have width, height and width x height x ${input.channels} bytes of data`);
    const begun = performance.now();
    const of = whole("seed", seed);
    const fitted = padded(image, input);
    const reach = this.info.noise ? null : JSON.parse(this.info.manifest).reach;
    const tiles = plan(fitted, reach, tile, overlap);
    let result = null;
    let done = 0;
    progress(0, tiles.length);
    await this.#backend.apply(
      tiles.map((t) => ({ ...piece(fitted, t, input.channels), seed: of })),
      (made, i) => {
        const scale = made.height / tiles[i].read.height;
        const size = { width: fitted.width * scale, height: fitted.height * scale };
        result ??= { ...size, scale, data: new Uint8Array(size.width * size.height * channels) };
        put(result, made, tiles[i], channels);
        progress(++done, tiles.length);
      },
    );
    const out = { width: Math.floor(width * result.scale), height: Math.floor(height * result.scale) };
    const from = { ...result, channels };
    const kept = piece(from, { read: { x: 0, y: 0, ...out } }, channels).data;
    return new Pictures(kept, 1, { ...out, channels }, performance.now() - begun);
  }

  // Return the w of each layer of images, after mixing: count x layers x features.
  async map(request = {}) {
    if (!this.info.styles) throw new TypeError("this generator was opened without a mapping");
    return this.#backend.map(checked(this.info, request));
  }

  async generate(request = {}) {
    if (this.info.kind === "values") throw new TypeError("this file is a mapping and gives no images: open the synthesis with it");
    if (this.info.input) throw new TypeError("this generator takes images: use apply");
    const asked = checked(this.info, request);
    const begun = performance.now();
    const data = await this.#backend.generate(asked);
    return new Pictures(data, asked.count, this.info, performance.now() - begun);
  }

  close() {
    this.#backend.close();
  }
}

// Return the latents and labels of a request, for a backend that takes only these.
export function inputs(info, t, request) {
  const { seed, start, count, label } = request;
  const z = request.latents ?? draw(t, seed, start, count, info.latentSize);
  if (!info.classes) return { z, chosen: null };
  if (label === LABELS.random) return { z, chosen: labels(seed, start, count, info.classes) };
  const all = (i) => Number((start + BigInt(i)) % BigInt(info.classes));
  return { z, chosen: Array.from({ length: count }, (_, i) => (label === LABELS.all ? all(i) : label)) };
}

// Return the request with its defaults; throw an error with the allowed values if it is invalid.
function checked(info, request) {
  const { latents = null, label = "random", scalars = null } = request;
  if (latents && (!(latents instanceof Float32Array) || !latents.length || latents.length % info.latentSize))
    throw new TypeError(`latents: must be a Float32Array of whole rows of ${info.latentSize}`);
  const styles = checkedStyles(info, request, whole);
  const given = styles.ws ? styles.ws.length / (info.styles.layers * info.styles.features) : (request.count ?? 1);
  const count = latents ? latents.length / info.latentSize : given;
  const most = Math.floor(MOST_BYTES / bytesOf(info));
  if (!Number.isInteger(count) || count < 1 || count > most)
    throw new RangeError(`count ${count}: must be 1 to ${most} images at once`);
  const seed = whole("seed", request.seed ?? 0n);
  const start = whole("start", request.start ?? 0n);
  if (start + BigInt(count) > SEEDS) throw new RangeError(`start ${start}: indices end at 2^64-1`);
  if (!info.classes && label !== "random") throw new RangeError("label: this generator has none");
  const chosen = LABELS[label] ?? label;
  const known = Object.hasOwn(LABELS, label) || (Number.isInteger(label) && label >= 0 && label < info.classes);
  if (!known) throw new RangeError(`label ${label}: must be 0 to ${info.classes - 1}, "random" or "all"`);
  if (scalars && (!(scalars instanceof Float32Array) || scalars.length !== info.scalars))
    throw new TypeError(`scalars: must be a Float32Array of ${info.scalars ?? 0}`);
  if (info.prior === "none" && !latents) throw new TypeError(`latents: this generator starts from ${info.latentSize} given numbers`);
  return { seed, start, count, label: chosen, latents, scalars, ...styles };
}

function whole(name, value) {
  if (typeof value !== "bigint" && !Number.isSafeInteger(value))
    throw new TypeError(`${name} ${value}: must be a BigInt, such as 7n`);
  const big = BigInt(value);
  if (big < 0n || big >= SEEDS) throw new RangeError(`${name} ${value}: must be 0 to 2^64-1`);
  return big;
}

// ---- the WebAssembly engine ----

const NODE = typeof process !== "undefined" && Boolean(process.versions?.node);

async function read(source) {
  if (source instanceof ArrayBuffer) return new Uint8Array(source).slice(); // the caller may change it
  if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength).slice();
  const url = String(source);
  if (NODE && !/^https?:/.test(url)) {
    const { readFile } = await import("node:fs/promises");
    return new Uint8Array(await readFile(url.startsWith("file:") ? new URL(url) : url));
  }
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: the server answered ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
}

// Start a worker, before its files are fetched.
async function spawn() {
  const url = new URL("./worker.js", import.meta.url);
  const worker = NODE ? new (await import("node:worker_threads")).Worker(url) : new Worker(url, { type: "module" });
  const waiting = [];
  let broken = null;
  const settle = (message) => {
    const asked = waiting.shift();
    if (!asked) return; // stopped before the answer arrived
    if (message.error) asked.reject(new Error(message.error));
    else asked.resolve(message);
  };
  const fail = (e) => {
    broken = new Error(`a worker failed: ${e.message ?? e}`);
    for (const { reject } of waiting.splice(0)) reject(broken);
  };
  if (NODE) worker.on("message", settle).on("error", fail);
  else Object.assign(worker, { onmessage: ({ data }) => settle(data), onerror: fail });
  const ask = (message) =>
    new Promise((resolve, reject) => {
      if (broken) throw broken;
      worker.postMessage(message);
      waiting.push({ resolve, reject });
    });
  const stop = () => {
    worker.terminate();
    fail("it was closed");
  };
  return { ask, stop };
}

async function startWorker(module, file, spawned = spawn()) {
  const { ask, stop } = await spawned;
  try {
    const { info } = await ask({ open: { module, file } });
    return { ask, stop, info };
  } catch (e) {
    stop();
    throw e;
  }
}

class WasmBackend {
  #module;
  #file;
  #most;
  #workers; // promises of workers, which start when first needed
  #closed = false;

  constructor(module, file, most, first) {
    this.#module = module;
    this.#file = file;
    this.#most = most;
    this.#workers = [Promise.resolve(first)];
    this.info = first.info;
  }

  get name() {
    const n = this.#workers.length;
    return `WebAssembly engine, ${this.info.kernels}, ${n} worker${n > 1 ? "s" : ""}`;
  }

  async generate({ seed, start, count, label, latents, scalars }) {
    if (this.#closed) throw new Error("the generator is closed");
    const size = bytesOf(this.info);
    const data = new (this.info.kind === "values" ? Float32Array : Uint8Array)(count * size);
    const chunk = Math.min(CHUNK, Math.ceil(count / this.#most));
    let next = 0;
    while (this.#workers.length < Math.min(this.#most, Math.ceil(count / chunk)))
      this.#workers.push(startWorker(this.#module, this.#file));
    const serve = async (starting) => {
      const worker = await starting.catch(() => this.#goOnWithout(starting));
      for (let first = next; worker && first < count; first = next) {
        const n = Math.min(chunk, count - first);
        next = first + n;
        const rows = latents?.slice(first * this.info.latentSize, (first + n) * this.info.latentSize) ?? null;
        const job = { seed, start: start + BigInt(first), count: n, label, latents: rows, scalars };
        data.set((await worker.ask({ job })).pixels, first * size);
      }
    };
    await Promise.all(this.#workers.map(serve));
    return data;
  }

  // Put each image through some worker; `each` gets what was made, and its index.
  async apply(images, each) {
    if (this.#closed) throw new Error("the generator is closed");
    let next = 0;
    while (this.#workers.length < Math.min(this.#most, images.length))
      this.#workers.push(startWorker(this.#module, this.#file));
    const serve = async (starting) => {
      const worker = await starting.catch(() => this.#goOnWithout(starting));
      while (worker && next < images.length) {
        const i = next++;
        each((await worker.ask({ image: images[i] })).made, i);
      }
    };
    await Promise.all(this.#workers.map(serve));
  }

  // Go on without a worker that can't start, and start no others; the first one, which `open` started, always exists.
  #goOnWithout(lost) {
    this.#workers = this.#workers.filter((starting) => starting !== lost);
    this.#most = this.#workers.length;
  }

  close() {
    this.#closed = true;
    for (const starting of this.#workers) starting.then((worker) => worker.stop(), () => {});
  }
}

function cores() {
  const found = globalThis.navigator?.hardwareConcurrency ?? 1;
  return Math.min(Math.max(found, 1), 8);
}

// Open a .gan file: its address, a path in Node, or its bytes; with options.ort, an ONNX file; with options.mapping, the
// file of a style-based generator's synthesis, and of its mapping.
export async function open(source, options = {}) {
  if (options.ort) {
    const { OnnxBackend } = await import("./onnx.js");
    return new Generator(await OnnxBackend.open(options.ort, await read(source), options.providers));
  }
  const threads = options.threads ?? cores();
  if (!Number.isInteger(threads) || threads < 1 || threads > MOST_WORKERS)
    throw new RangeError(`threads ${threads}: must be 1 to ${MOST_WORKERS}`);
  const build = new URL(options.build ?? bestBuild(), import.meta.url);
  const module = read(build).then((bytes) => WebAssembly.compile(bytes));
  if (!options.mapping) return new Generator(await openEngine(source, module, threads));
  const parts = await Promise.allSettled([openEngine(options.mapping, module, 1), openEngine(source, module, threads)]);
  try {
    const [mapping, synthesis] = parts.map(({ value, reason }) => {
      if (reason) throw reason;
      return value;
    });
    return new Generator(new StyleBackend(mapping, synthesis));
  } catch (e) {
    for (const { value } of parts) value?.close();
    throw e;
  }
}

// Start an engine with a file; `module` is a promise of a compiled build.
async function openEngine(source, module, threads) {
  const spawned = spawn();
  try {
    const [file, compiled] = await Promise.all([read(source), module]);
    return new WasmBackend(compiled, file, threads, await startWorker(compiled, file, spawned));
  } catch (e) {
    (await spawned).stop();
    throw e;
  }
}
