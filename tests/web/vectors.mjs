// node vectors.mjs LATENTS_JS KAT_VECTORS: the known answers, each computed anew; prints those that differ.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const [module, vectors] = process.argv.slice(2);
const { draw, labels, philox, table } = await import(module);
const hex = (word) => word.toString(16).padStart(8, "0");
const bits = (floats) => [...new Uint32Array(Float32Array.from(floats).buffer)].map(hex).join(" ");
const normal = table("normal");
const compute = {
  philox: (words) => philox(...words.map((w) => parseInt(w, 16))).map(hex).join(" "),
  table: () => createHash("sha256").update(Buffer.from(normal.buffer)).digest("hex"),
  entry: ([u]) => bits([normal[u]]),
  latent: ([prior, seed, index, nz]) => bits(draw(table(prior), BigInt(seed), BigInt(index), 1, Number(nz))),
  label: ([seed, index, classes]) => String(labels(BigInt(seed), BigInt(index), 1, Number(classes))[0]),
};
const count = {};
for (const line of readFileSync(vectors, "utf8").split("\n")) {
  if (!line || line.startsWith("#")) continue;
  const [kind, ...rest] = line.split(" ");
  const arrow = rest.indexOf("->");
  const last = kind === "table" ? [] : rest.slice(0, -1);
  const [given, want] = arrow < 0 ? [last, rest.at(-1)] : [rest.slice(0, arrow), rest.slice(arrow + 1).join(" ")];
  const got = compute[kind](given);
  if (got !== want) console.log(`${line}\n  but got ${got}`);
  count[kind] = (count[kind] ?? 0) + 1;
}
console.log(JSON.stringify(count));
