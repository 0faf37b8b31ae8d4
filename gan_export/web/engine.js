// An instance of the WebAssembly engine with one generator.  Synchronous: gan.js runs it in workers.
// The functions are those of engine/include/gan.h; structures have wasm32's offsets.

const CHUNK = 32; // images per call: the engine's largest chunk for one thread

// Choose the build that this host can run, by two tiny modules with one instruction each.
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
  #cell; // 64 bytes for arguments and results of functions
  #file;

  // `module` is a compiled build, `file` the bytes of a .gan file.
  constructor(module, file) {
    this.#wasm = new WebAssembly.Instance(module, {}).exports;
    this.#cell = this.#allocate(64);
    this.#file = this.#allocate(file.byteLength);
    new Uint8Array(this.#wasm.memory.buffer).set(file, this.#file);
    this.#check(this.#wasm.gan_open_memory(this.#file, file.byteLength, this.#cell));
    this.#model = this.#view().getUint32(this.#cell, true);
    this.info = { ...this.#describe(), input: this.#describeInput() };
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

  // The images that the generator takes; null if it takes latents.
  #describeInput() {
    this.#wasm.gan_describe_input(this.#model, this.#cell);
    const view = this.#view();
    const u32 = (offset) => view.getUint32(this.#cell + offset, true);
    const side = (at) => ({ least: u32(at), multiple: u32(at + 4), most: u32(at + 8) });
    return u32(0) ? { channels: u32(0), height: side(4), width: side(16) } : null;
  }

  // A context needs memory for transformed weights, so there are only two kinds.
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

  // Return what the generator makes of an image (height x width x channels): {data, height, width}.
  apply({ data, height, width }) {
    this.#check(this.#wasm.gan_output_size(this.#model, height, width, this.#cell, this.#cell + 4));
    const size = { height: this.#view().getUint32(this.#cell, true), width: this.#view().getUint32(this.#cell + 4, true) };
    const context = this.#context(1);
    const bytes = size.height * size.width * this.info.channels;
    const image = this.#allocate(data.length);
    const out = this.#allocate(bytes);
    try {
      new Uint8Array(this.#wasm.memory.buffer).set(data, image);
      const view = this.#view();
      view.setBigUint64(this.#cell, 1n, true);
      view.setUint32(this.#cell + 8, height, true);
      view.setUint32(this.#cell + 12, width, true);
      view.setUint32(this.#cell + 16, image, true);
      view.setUint32(this.#cell + 20, 0, true);
      this.#check(this.#wasm.gan_apply_bytes(context, this.#cell, out, bytes));
      return { data: new Uint8Array(this.#wasm.memory.buffer).slice(out, out + bytes), ...size };
    } finally {
      this.#wasm.free(image);
      this.#wasm.free(out);
    }
  }

  // Return images as a Uint8Array, N x H x W x C.  label: a number, -1 random, -2 all; latents: Float32Array or null.
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
