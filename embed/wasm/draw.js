// Pictures of a seed in Node, by the WebAssembly engine: node draw.js g.gan SEED COUNT > pictures.raw
import { open } from "../../gan_export/web/gan.js";

const [file, seed, count] = process.argv.slice(2);
if (!/^\d+$/.test(seed) || !/^\d+$/.test(count)) {
  console.error("usage: node draw.js g.gan SEED COUNT > pictures.raw");
  process.exit(2);
}
process.stdout.on("error", () => {
  console.error("draw: the pictures can't be written");
  process.exit(2);
});
try {
  const generator = await open(file);
  const pictures = await generator.generate({ seed: BigInt(seed), count: Number(count) });
  process.stdout.write(pictures.data, () => generator.close());
} catch (e) {
  console.error(`draw: ${e.message}`);
  process.exit(2);
}
