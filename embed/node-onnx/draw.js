// Pictures of latents with onnxruntime-node: node draw.js g.onnx NZ latents.raw pictures.raw
// latents.raw: float32 (N, NZ); pictures.raw: uint8 (N, H, W, C).
import { readFileSync, writeFileSync } from "node:fs";
import ort from "onnxruntime-node";

const [file, size, from, to] = process.argv.slice(2);
const nz = Number(size);
if (!to || !Number.isInteger(nz) || nz < 1) {
  console.error("usage: node draw.js g.onnx NZ latents.raw pictures.raw");
  process.exit(2);
}

// Values (N, C, H, W) in [-1, 1] to bytes (N, H, W, C).
function toBytes({ dims: [n, channels, height, width], data }) {
  const plane = height * width;
  const pixels = new Uint8ClampedArray(data.length);
  for (let i = 0; i < n; i++)
    for (let c = 0; c < channels; c++)
      for (let p = 0; p < plane; p++) {
        const x = Math.fround(Math.fround(data[(i * channels + c) * plane + p] * 127.5) + 128);
        pixels[(i * plane + p) * channels + c] = Math.floor(x);
      }
  return pixels;
}

try {
  const session = await ort.InferenceSession.create(file);
  const raw = readFileSync(from);
  const z = new Float32Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.byteLength));
  const n = z.length / nz;
  if (!Number.isInteger(n) || n < 1) throw new Error(`${from}: whole rows of ${nz} numbers are needed`);
  const feeds = { z: new ort.Tensor("float32", z, [n, nz]) };
  if (session.inputNames.includes("label"))
    throw new Error("a conditional generator needs feeds.label, int64 (N,), too");
  const image = (await session.run(feeds))[session.outputNames[0]];
  const bytes = image.type === "uint8"; // (N, H, W, C), with --uint8
  const model = readFileSync(file); // its manifest, JSON, says in which range values are
  if (!bytes && !model.includes('"range":[-1.0,1.0]') && model.includes('"range":['))
    throw new Error(`${file}: values in [-1, 1] are needed; export it without --raw, or with --uint8`);
  writeFileSync(to, bytes ? image.data : toBytes(image));
} catch (e) {
  console.error(`draw: ${String(e.message).split("\n")[0]}`);
  process.exit(2);
}
