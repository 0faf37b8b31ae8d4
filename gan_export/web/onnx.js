// A generator's ONNX file through onnxruntime-web (or onnxruntime-node), as a backend of gan.js:
//
//   import * as ort from "onnxruntime-web/webgpu";
//   const generator = await open("generator.onnx", { ort, providers: ["webgpu", "wasm"] });
//
// The caller imports the runtime; this module ships and fetches no part of it.
import { inputs } from "./gan.js";
import { table } from "./latents.js";

const CHUNK = 64; // images per run

export class OnnxBackend {
  #ort;
  #session;
  #manifest;
  #table;
  #last = Promise.resolve(); // a session runs one call at a time

  constructor(ort, session, provider, manifest) {
    this.#ort = ort;
    this.#session = session;
    this.#manifest = JSON.parse(manifest);
    const { nz, classes, image, prior } = factsOf(this.#manifest);
    const [channels, height, width] = image;
    this.info = { latentSize: nz, channels, height, width, classes, prior, manifest };
    this.name = `ONNX Runtime ${ort.env?.versions?.common ?? ""}, ${provider}`;
  }

  // Open an ONNX file of gan-export, `bytes`, by the first of the providers that loads it.
  static async open(ort, bytes, providers = ["wasm"]) {
    const manifest = metadata(bytes).get("gan-export.manifest");
    if (!manifest) throw new Error("the file has no manifest of gan-export: export the checkpoint with gan-export onnx");
    const reasons = [];
    for (const provider of providers) {
      try {
        const session = await ort.InferenceSession.create(bytes, { executionProviders: [provider] });
        if (!session.inputNames.includes("z"))
          throw new Error("the file computes its own latents: export it without --sampler");
        return new OnnxBackend(ort, session, provider, manifest);
      } catch (e) {
        reasons.push(`${provider}: ${e.message ?? e}`);
      }
    }
    throw new Error(`no provider runs this file: ${reasons.join("; ")}`);
  }

  generate(request) {
    const drawn = this.#last.then(() => this.#generate(request));
    this.#last = drawn.catch(() => {});
    return drawn;
  }

  async #generate(request) {
    const { latentSize, channels, height, width, classes } = this.info;
    this.#table ??= table(this.info.prior);
    const { z, chosen } = inputs(this.info, this.#table, request);
    const size = channels * height * width;
    const data = new Uint8ClampedArray(request.count * size);
    for (let first = 0; first < request.count; first += CHUNK) {
      const n = Math.min(CHUNK, request.count - first);
      const rows = z.slice(first * latentSize, (first + n) * latentSize);
      const feeds = { z: new this.#ort.Tensor("float32", rows, [n, latentSize]) };
      if (classes)
        feeds.label = new this.#ort.Tensor("int64", BigInt64Array.from(chosen.slice(first, first + n), BigInt), [n]);
      const image = (await this.#session.run(feeds))[this.#session.outputNames[0]];
      this.#put(image, n, data.subarray(first * size, (first + n) * size));
      image.dispose?.();
    }
    return new Uint8Array(data.buffer);
  }

  // Copy bytes (N, H, W, C), or convert floats (N, C, H, W) by the rounding rule, each operation in float32.
  #put({ type, data }, count, out) {
    if (type === "uint8") {
      out.set(data);
      return;
    }
    const { channels, height, width } = this.info;
    const [low, high] = factsOf(this.#manifest).range ?? [-1, 1];
    const unit = low === -1 && high === 1;
    const scale = Math.fround(2 / (high - low));
    const plane = height * width;
    const round = Math.fround;
    for (let i = 0, from = 0; i < count; i++)
      for (let c = 0; c < channels; c++)
        for (let p = 0; p < plane; p++, from++) {
          const x = unit ? data[from] : round(round(round(data[from] - round(low)) * scale) - 1);
          out[(i * plane + p) * channels + c] = Math.floor(round(round(x * 127.5) + 128));
        }
  }

  close() {
    this.#last.then(() => this.#session.release?.());
  }
}

// Return the metadata of an ONNX file: field 14 of its protobuf message, pairs of a key (1) and a value (2).
function metadata(bytes) {
  const found = new Map();
  try {
    for (const [field, entry] of fields(bytes)) {
      if (field !== 14) continue;
      const pair = new Map(fields(entry));
      const text = (n) => new TextDecoder().decode(pair.get(n) ?? new Uint8Array());
      found.set(text(1), text(2));
    }
  } catch {
    throw new Error("not an ONNX file, or one that is cut short");
  }
  return found;
}

// Yield [number, bytes] of each field of a message with bytes; numeric fields are skipped.
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    for (let value = 0, factor = 1; factor < 2 ** 53; factor *= 128) {
      if (at >= bytes.length) break;
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
    throw new RangeError("a number that doesn't end");
  };
  while (at < bytes.length) {
    const tag = varint();
    const wire = tag % 8;
    const length = wire === 2 ? varint() : wire === 1 ? 8 : wire === 5 ? 4 : 0;
    if (wire === 0) varint();
    else if (!length && wire !== 2) throw new RangeError(`wire type ${wire}`);
    if (at + length > bytes.length) throw new RangeError("cut short");
    if (wire === 2) yield [Math.floor(tag / 8), bytes.subarray(at, at + length)];
    at += length;
  }
}

// Return the facts of a generator of z and an optional label, from a manifest's signature or version 1's facts.
function factsOf({ facts, signature }) {
  if (facts) return facts;
  const { inputs, outputs, sizes } = signature;
  const [z, label] = inputs;
  const plain = z.name === "z" && z.kind === "latent" && z.shape.length === 1 && typeof z.prior === "string";
  const labelled = inputs.length === 1 || (inputs.length === 2 && label.name === "label");
  if (!plain || !labelled || outputs.length !== 1 || outputs[0].layout !== "CHW" || sizes)
    throw new Error("only generators of one latent z, perhaps a label, and one image are supported");
  const { shape, range } = outputs[0];
  return { nz: z.shape[0], prior: z.prior, classes: label?.classes ?? 0, image: shape, range };
}
