// Pictures from a generator file, in a browser or in Node.
//
//   const generator = await open("generator.gan");
//   const pictures = await generator.generate({ seed: 7n, count: 16 });
//   context.putImageData(pictures.toImageData(0), 0, 0);
//
// gan.d.ts says what everything takes and gives.  The engine works in workers, each with an instance of its own, so
// that a page stays responsive and no header (COOP, COEP) is needed for several of them.
import { bestBuild } from "./engine.js";
import { draw, labels, table } from "./latents.js";

const CHUNK = 32; // pictures a worker draws for one message
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
    this.channels = info.channels;
    this.milliseconds = milliseconds;
  }

  // Picture i as RGBA: grey is spread, more than three channels show their first three.
  toImageData(i) {
    const { width, height, channels, count } = this;
    if (!Number.isInteger(i) || i < 0 || i >= count) throw new RangeError(`picture ${i}: 0 to ${count - 1} are there`);
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
}

// A generator that draws through a backend: {info, generate(request) -> Uint8Array, close()}.
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

  async generate(request = {}) {
    const asked = checked(this.info, request);
    const begun = performance.now();
    const data = await this.#backend.generate(asked);
    return new Pictures(data, asked.count, this.info, performance.now() - begun);
  }

  close() {
    this.#backend.close();
  }
}

// Latents and labels of a request for a backend that takes nothing else.
export function inputs(info, t, request) {
  const { seed, start, count, label } = request;
  const z = request.latents ?? draw(t, seed, start, count, info.latentSize);
  if (!info.classes) return { z, chosen: null };
  if (label === LABELS.random) return { z, chosen: labels(seed, start, count, info.classes) };
  const all = (i) => Number((start + BigInt(i)) % BigInt(info.classes));
  return { z, chosen: Array.from({ length: count }, (_, i) => (label === LABELS.all ? all(i) : label)) };
}

// The request with its defaults, or an error that says what is possible.
function checked(info, request) {
  const { latents = null, label = "random" } = request;
  const size = info.width * info.height * info.channels;
  if (latents && (!(latents instanceof Float32Array) || !latents.length || latents.length % info.latentSize))
    throw new TypeError(`latents: a Float32Array of whole rows of ${info.latentSize} is needed`);
  const count = latents ? latents.length / info.latentSize : (request.count ?? 1);
  const most = Math.floor(MOST_BYTES / size);
  if (!Number.isInteger(count) || count < 1 || count > most)
    throw new RangeError(`count ${count}: 1 to ${most} pictures at once are possible`);
  const seed = whole("seed", request.seed ?? 0n);
  const start = whole("start", request.start ?? 0n);
  if (start + BigInt(count) > SEEDS) throw new RangeError(`start ${start}: indices end at 2^64-1`);
  if (!info.classes && label !== "random") throw new RangeError("label: this generator has none");
  const chosen = LABELS[label] ?? label;
  const known = Object.hasOwn(LABELS, label) || (Number.isInteger(label) && label >= 0 && label < info.classes);
  if (!known) throw new RangeError(`label ${label}: 0 to ${info.classes - 1} are possible, or "random", or "all"`);
  return { seed, start, count, label: chosen, latents };
}

function whole(name, value) {
  if (typeof value !== "bigint" && !Number.isSafeInteger(value))
    throw new TypeError(`${name} ${value}: a BigInt is needed, such as 7n`);
  const big = BigInt(value);
  if (big < 0n || big >= SEEDS) throw new RangeError(`${name} ${value}: 0 to 2^64-1 is possible`);
  return big;
}

// ---- the WebAssembly engine ----

const NODE = typeof process !== "undefined" && Boolean(process.versions?.node);

async function read(source) {
  if (source instanceof ArrayBuffer) return new Uint8Array(source).slice(); // its owner may use it again
  if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength).slice();
  const url = String(source);
  if (NODE && !/^https?:/.test(url)) {
    const { readFile } = await import("node:fs/promises");
    return new Uint8Array(await readFile(url.startsWith("file:") ? new URL(url) : url));
  }
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: the server says ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
}

// A worker that comes up by itself, while its files are still fetched.
async function spawn() {
  const url = new URL("./worker.js", import.meta.url);
  const worker = NODE ? new (await import("node:worker_threads")).Worker(url) : new Worker(url, { type: "module" });
  const waiting = [];
  let broken = null;
  const settle = (message) => {
    const asked = waiting.shift();
    if (!asked) return; // stopped while the answer was on its way
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
  #workers; // promises of them, started as they are first needed
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

  async generate({ seed, start, count, label, latents }) {
    if (this.#closed) throw new Error("the generator is closed");
    const size = this.info.width * this.info.height * this.info.channels;
    const data = new Uint8Array(count * size);
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
        const job = { seed, start: start + BigInt(first), count: n, label, latents: rows };
        data.set((await worker.ask({ job })).pixels, first * size);
      }
    };
    await Promise.all(this.#workers.map(serve));
    return data;
  }

  // The first worker, which `open` has started, is always there; no more are tried than do start.
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

// Open a .gan file: its address, a path in Node, or its bytes; with options.ort, an ONNX file.
export async function open(source, options = {}) {
  if (options.ort) {
    const { OnnxBackend } = await import("./onnx.js");
    return new Generator(await OnnxBackend.open(options.ort, await read(source), options.providers));
  }
  const threads = options.threads ?? cores();
  if (!Number.isInteger(threads) || threads < 1 || threads > MOST_WORKERS)
    throw new RangeError(`threads ${threads}: 1 to ${MOST_WORKERS} are possible`);
  const build = new URL(options.build ?? bestBuild(), import.meta.url);
  const spawned = spawn();
  try {
    const [file, module] = await Promise.all([read(source), read(build).then((bytes) => WebAssembly.compile(bytes))]);
    return new Generator(new WasmBackend(module, file, threads, await startWorker(module, file, spawned)));
  } catch (e) {
    (await spawned).stop();
    throw e;
  }
}
