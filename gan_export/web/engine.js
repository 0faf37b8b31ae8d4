// An instance of the WebAssembly engine with one generator.  Synchronous: gan.js runs it in workers.
// The functions are those of engine/include/gan.h; structures have wasm32's offsets.

const CELL = 256; // of which the first half is zeros before each use
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

// Return the bytes of one image, or of one volume: the slices of a volume lie one below the other.
export function bytesOf({ depth, height, width, channels }) {
  return (depth || 1) * height * width * channels;
}

export class Engine {
  #wasm;
  #model = 0;
  #contexts = new Map(); // batch -> context
  #cell; // CELL bytes for arguments and results of functions
  #file;

  // `module` is a compiled build, `file` the bytes of a .gan file.
  constructor(module, file) {
    this.#wasm = new WebAssembly.Instance(module, {}).exports;
    this.#cell = this.#allocate(CELL);
    this.#file = this.#allocate(file.byteLength);
    new Uint8Array(this.#wasm.memory.buffer).set(file, this.#file);
    // gan_open_options: size, kernels, message, message_size; the message in the cell's second half
    const cell = this.#structure(16, { 8: this.#cell + 128, 12: CELL - 128 });
    const status = this.#wasm.gan_open_memory(this.#file, file.byteLength, cell, cell + 16);
    if (status) throw new Error(this.#text(cell + 128));
    this.#model = this.#view().getUint32(cell + 16, true);
    this.info = { ...this.#describe(), input: this.#describeInput() };
  }

  #view() {
    return new DataView(this.#wasm.memory.buffer);
  }

  // A structure of gan.h in the cell: its size, then numbers by offset, 64 bits of a bigint and 32 of others.
  #structure(size, members = {}, at = 0) {
    const view = this.#view();
    if (!at) new Uint8Array(view.buffer, this.#cell, 128).fill(0);
    view.setUint32(this.#cell + at, size, true);
    for (const [offset, value] of Object.entries(members)) {
      const to = this.#cell + at + Number(offset);
      if (typeof value === "bigint") view.setBigInt64(to, BigInt.asIntN(64, value), true);
      else view.setUint32(to, value, true);
    }
    return this.#cell + at;
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

  // `context`: of the call that returned `status`, which explains more than it.
  #check(status, context = 0) {
    if (!status) return;
    const message = context ? this.#text(this.#wasm.gan_context_message(context) >>> 0) : "";
    throw new Error(message || this.#text(this.#wasm.gan_status_string(status) >>> 0));
  }

  #describe() {
    this.#wasm.gan_describe(this.#model, this.#structure(88));
    const view = this.#view();
    const u32 = (offset) => view.getUint32(this.#cell + offset, true);
    return {
      latentSize: u32(4),
      classes: u32(8),
      prior: ["normal", "uniform", "none"][u32(12)],
      channels: u32(16),
      depth: u32(64), // of a volume, 0 for images
      height: u32(20),
      width: u32(24),
      manifest: this.#text(u32(48), u32(52)),
      kernels: this.#text(u32(56)),
      kind: ["image", "volume", "signal", "values"][u32(60)],
      noise: view.getBigUint64(this.#cell + 80, true) > 0n, // whether it takes noise, such as dropout's
      scalars: u32(72), // numbers that an image takes beside its latent, such as StyleGAN's psi
      version: this.#text(this.#wasm.gan_version() >>> 0),
    };
  }

  // The images that the generator takes; null if it takes latents.
  #describeInput() {
    this.#wasm.gan_describe_input(this.#model, this.#structure(40));
    const view = this.#view();
    const u32 = (offset) => view.getUint32(this.#cell + offset, true);
    const side = (at) => ({ least: u32(at), multiple: u32(at + 4), most: u32(at + 8) });
    return u32(4) ? { channels: u32(4), height: side(8), width: side(20) } : null;
  }

  // A context needs memory for transformed weights, so there are only two kinds; for volumes, one: each is large.
  #context(count) {
    const batch = count === 1 || this.info.depth ? 1 : CHUNK;
    const found = this.#contexts.get(batch);
    if (found) return found;
    const options = this.#structure(40, { 16: 1, 20: batch }); // threads, batch
    this.#check(this.#wasm.gan_context_new(this.#model, options, options + 40));
    const context = this.#view().getUint32(options + 40, true);
    this.#contexts.set(batch, context);
    return context;
  }

  // Return what the generator makes of an image (height x width x channels): {data, height, width}.  seed: of noise.
  apply({ data, height, width, seed = 0n }) {
    this.#check(this.#wasm.gan_output_size(this.#model, height, width, this.#cell, this.#cell + 4));
    const size = { height: this.#view().getUint32(this.#cell, true), width: this.#view().getUint32(this.#cell + 4, true) };
    const context = this.#context(1);
    const bytes = size.height * size.width * this.info.channels;
    const image = this.#allocate(data.length);
    const out = this.#allocate(bytes);
    try {
      new Uint8Array(this.#wasm.memory.buffer).set(data, image);
      const images = this.#structure(72, { 8: 1n, 16: image, 20: data.length, 32: height, 36: width, 48: seed });
      const output = this.#structure(32, { 4: out, 8: bytes }, 80);
      this.#check(this.#wasm.gan_apply(context, images, output), context);
      return { data: new Uint8Array(this.#wasm.memory.buffer).slice(out, out + bytes), ...size };
    } finally {
      this.#wasm.free(image);
      this.#wasm.free(out);
    }
  }

  // Return images as a Uint8Array, N x H x W x C, volumes as N x D x H x W x C, and values as a Float32Array, N x rows (their width) x channels.
  // label: a number, -1 random, -2 all; latents: Float32Array or null;
  // scalars: a Float32Array of info.scalars numbers for all images, or null for ones.
  generate({ seed, start, count, label, latents, scalars }) {
    const { latentSize, scalars: each, kind } = this.info;
    const [type, format] = kind === "values" ? [Float32Array, 6] : [Uint8Array, 0]; // GAN_FLOAT_INTERLEAVED, GAN_BYTES
    const context = this.#context(count);
    const numbers = count * bytesOf(this.info);
    const size = numbers * type.BYTES_PER_ELEMENT;
    const out = this.#allocate(size);
    const z = latents ? this.#allocate(latents.byteLength) : 0;
    const given = scalars ? this.#allocate(4 * count * each) : 0;
    try {
      if (latents) new Float32Array(this.#wasm.memory.buffer, z, count * latentSize).set(latents);
      for (let i = 0; scalars && i < count; i++)
        new Float32Array(this.#wasm.memory.buffer, given + 4 * i * each, each).set(scalars);
      const request = this.#structure(96, {
        8: seed, 16: start, 24: BigInt(count), 32: BigInt(Math.max(label, 0)), 40: label === -1 ? 0 : label === -2 ? 2 : 1,
        72: z, 76: z ? count * latentSize : 0, 80: given, 84: given ? count * each : 0,
      });
      const output = this.#structure(32, { 4: out, 8: size, 28: format }, 96);
      this.#check(this.#wasm.gan_generate(context, request, output), context);
      return new type(this.#wasm.memory.buffer, out, numbers).slice();
    } finally {
      this.#wasm.free(out);
      this.#wasm.free(z);
      this.#wasm.free(given);
    }
  }
}
