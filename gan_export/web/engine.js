// One instance of the WebAssembly engine with one generator in it.  Synchronous: gan.js runs it in workers.
// The functions are those of engine/include/gan.h; structures are read and written at the offsets that wasm32 gives them.

const CHUNK = 32; // pictures drawn at once: the engine's own largest chunk for one thread

// Which of the three builds this host can run: two tiny modules that use one instruction each.
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 9, 1, 7, 0, 65, 0, 253, 15, 26, 11];
const RELAXED = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 20, 1, 18, 0, 65, 0, 253, 15, 65, 0, 253, 15, 65, 0,
  253, 15, 253, 133, 2, 26, 11,
];

export function bestBuild() {
  if (WebAssembly.validate(new Uint8Array(RELAXED))) return "gan-relaxed.wasm";
  return WebAssembly.validate(new Uint8Array(SIMD)) ? "gan-simd.wasm" : "gan.wasm";
}

export class Engine {
  #wasm;
  #model = 0;
  #contexts = new Map(); // batch -> context
  #cell; // 64 bytes for what functions give back and take
  #file;

  // `module` is a compiled build, `file` the bytes of a .gan file.
  constructor(module, file) {
    this.#wasm = new WebAssembly.Instance(module, {}).exports;
    this.#cell = this.#allocate(64);
    this.#file = this.#allocate(file.byteLength);
    new Uint8Array(this.#wasm.memory.buffer).set(file, this.#file);
    this.#check(this.#wasm.gan_open_memory(this.#file, file.byteLength, this.#cell));
    this.#model = this.#view().getUint32(this.#cell, true);
    this.info = this.#describe();
  }

  #view() {
    return new DataView(this.#wasm.memory.buffer);
  }

  #allocate(bytes) {
    const at = this.#wasm.malloc(bytes) >>> 0;
    if (!at) throw new RangeError(`no memory for ${bytes} bytes more`);
    return at;
  }

  #text(at, length) {
    const bytes = new Uint8Array(this.#wasm.memory.buffer, at);
    return new TextDecoder().decode(bytes.subarray(0, length ?? bytes.indexOf(0)));
  }

  #check(status) {
    if (status) throw new Error(this.#text(this.#wasm.gan_status_string(status) >>> 0));
  }

  #describe() {
    this.#wasm.gan_describe(this.#model, this.#cell);
    const view = this.#view();
    const u32 = (offset) => view.getUint32(this.#cell + offset, true);
    return {
      latentSize: u32(0),
      channels: u32(4),
      height: u32(8),
      width: u32(12),
      classes: u32(16),
      prior: u32(20) ? "uniform" : "normal",
      kernels: this.#text(u32(40)),
      manifest: this.#text(u32(32), u32(36)),
      version: this.#text(this.#wasm.gan_version() >>> 0),
    };
  }

  // A context costs its transformed weights, so there are two kinds of them only.
  #context(count) {
    const batch = count === 1 ? 1 : CHUNK;
    const found = this.#contexts.get(batch);
    if (found) return found;
    const view = this.#view();
    view.setUint32(this.#cell, 1, true); // threads
    view.setUint32(this.#cell + 4, batch, true);
    view.setBigUint64(this.#cell + 8, 0n, true);
    this.#check(this.#wasm.gan_context_new(this.#model, this.#cell, this.#cell + 16));
    const context = this.#view().getUint32(this.#cell + 16, true);
    this.#contexts.set(batch, context);
    return context;
  }

  // Pictures as a Uint8Array, N x H x W x C.  label: a number, -1 random, -2 all; latents: Float32Array or null.
  generate({ seed, start, count, label, latents }) {
    const { width, height, channels, latentSize } = this.info;
    const context = this.#context(count);
    const size = count * width * height * channels;
    const out = this.#allocate(size);
    const z = latents ? this.#allocate(latents.byteLength) : 0;
    try {
      if (latents) new Float32Array(this.#wasm.memory.buffer, z, count * latentSize).set(latents);
      const view = this.#view();
      view.setBigUint64(this.#cell, seed, true);
      view.setBigUint64(this.#cell + 8, start, true);
      view.setBigUint64(this.#cell + 16, BigInt(count), true);
      view.setBigInt64(this.#cell + 24, BigInt(label), true);
      view.setUint32(this.#cell + 32, 0, true);
      view.setUint32(this.#cell + 36, z, true);
      this.#check(this.#wasm.gan_generate_bytes(context, this.#cell, out, size));
      return new Uint8Array(this.#wasm.memory.buffer).slice(out, out + size);
    } finally {
      this.#wasm.free(out);
      this.#wasm.free(z);
    }
  }
}
