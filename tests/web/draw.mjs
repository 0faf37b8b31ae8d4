// node draw.mjs GAN_JS FILE REQUESTS: REQUESTS is JSON, a list of {out, options, request}; each request's pictures go
// to its `out`.  A request with an `image` {data, width, height} is applied to it.  Prints a list of what came: the backend's name, or the error's message.
import { writeFileSync } from "node:fs";

const [gan, file, text] = process.argv.slice(2);
const { open } = await import(gan);
const big = (value) => (typeof value === "string" && /^-?\d+n$/.test(value) ? BigInt(value.slice(0, -1)) : value);
const answers = [];
for (const { out, options, request } of JSON.parse(text)) {
  try {
    const generator = await open(file, options);
    try {
      const asked = Object.fromEntries(Object.entries(request).map(([k, v]) => [k, big(v)]));
      if (asked.mix) asked.mix = asked.mix.map((m) => ({ ...m, seed: big(m.seed) }));
      for (const name of ["latents", "scalars", "ws"]) if (asked[name]) asked[name] = Float32Array.from(asked[name]);
      const { image, ...settings } = asked;
      const pictures = image
        ? await generator.apply({ ...image, data: Uint8Array.from(image.data) }, settings)
        : await generator.generate(asked);
      if (out) writeFileSync(out, pictures.data);
      const { width, height } = pictures;
      const last = pictures.depth ? null : [...pictures.toImageData(pictures.count - 1).data.slice(0, 4)];
      answers.push({ backend: generator.backend, info: generator.info, width, height, last });
    } finally {
      generator.close();
    }
  } catch (e) {
    answers.push({ error: e.message });
  }
}
console.log(JSON.stringify(answers));
