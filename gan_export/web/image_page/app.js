// The page: an image in, and before and after under one slider.  Nothing is sent; all files it loads are beside it.
import { open } from "./gan.js";

const MOST_PIXELS = 2 ** 24;
const at = (id) => document.getElementById(id);
let generator;
let turn = 0; // the latest image; results of earlier ones are dropped
let source = null; // {bitmap, name}

function say(text, isError = false) {
  at("status").textContent = text;
  at("status").classList.toggle("error", isError);
}

// Run `work`, and show its error in the status line.
async function attempt(work) {
  try {
    await work();
  } catch (e) {
    at("progress").hidden = true;
    say(e.message, true);
  }
}

async function take(file) {
  if (!file) return;
  const mine = ++turn;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Error(`${file.name || "the file"} can't be read as an image.`);
  }
  if (mine !== turn) return;
  source = { bitmap, name: (file.name || "image").replace(/\.[^.]*$/, "") };
  await run();
}

function readSeed() {
  const text = at("seed").value.trim();
  if (!/^\d+$/.test(text) || BigInt(text) >= 2n ** 64n) throw new RangeError("The seed must be a whole number from 0 to 2^64-1.");
  return BigInt(text);
}

async function run() {
  if (!source) return;
  const seed = readSeed();
  const mine = ++turn;
  const { bitmap } = source;
  const most = Number(at("side").value);
  const share = most ? Math.min(1, most / Math.max(bitmap.width, bitmap.height)) : 1;
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * share)));
  if (width * height > MOST_PIXELS) throw new Error(`${width} x ${height} pixels are too many here: choose a longest side.`);
  const before = at("before");
  Object.assign(before, { width, height });
  const context = before.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff"; // under transparent pixels
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  const image = { data: bytesOf(context.getImageData(0, 0, width, height)), width, height };
  at("progress").hidden = false;
  at("progress").removeAttribute("value");
  at("save").disabled = true;
  say(`Computing ${width} x ${height} pixels …`);
  const made = await generator.apply(image, { seed, progress: (done, total) => mine === turn && showProgress(done, total) });
  if (mine !== turn) return;
  const after = at("after");
  Object.assign(after, { width: made.width, height: made.height });
  after.getContext("2d").putImageData(made.toImageData(0), 0, 0);
  at("stage").style.maxWidth = `min(100%, ${Math.max(made.width, 256)}px)`;
  at("compare").hidden = false;
  at("progress").hidden = true;
  at("save").disabled = false;
  at("caption").textContent = `${width} x ${height} before, ${made.width} x ${made.height} after. Move the line by pointer or arrow keys.`;
  say(`Done in ${(made.milliseconds / 1000).toFixed(1)} s.`);
  at("backend").textContent = `Backend: ${generator.backend}`;
}

function showProgress(done, total) {
  if (total === 1) return; // one call, which can't say how far it is
  Object.assign(at("progress"), { value: done, max: total });
  say(`Computing: ${done} of ${total} tiles …`);
}

// RGBA as the channels that the generator takes; gray is Rec. 601's.
function bytesOf({ data }) {
  const { channels } = generator.info.input;
  if (channels !== 1 && channels !== 3 && channels !== 4) throw new Error(`The generator takes ${channels} channels, which no image has.`);
  const bytes = new Uint8Array((data.length / 4) * channels);
  for (let from = 0, to = 0; from < data.length; from += 4)
    if (channels === 1) bytes[to++] = Math.round(0.299 * data[from] + 0.587 * data[from + 1] + 0.114 * data[from + 2]);
    else for (let c = 0; c < channels; c++) bytes[to++] = data[from + c];
  return bytes;
}

async function save() {
  const blob = await new Promise((resolve) => at("after").toBlob(resolve, "image/png"));
  const url = URL.createObjectURL(blob);
  Object.assign(document.createElement("a"), { href: url, download: `${source.name}-after.png` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

function listen() {
  const drop = at("drop");
  at("file").addEventListener("change", () => attempt(() => take(at("file").files[0])));
  for (const id of ["side", "seed"]) at(id).addEventListener("change", () => attempt(run));
  at("save").addEventListener("click", () => attempt(save));
  at("slider").addEventListener("input", () => at("stage").style.setProperty("--at", `${at("slider").value}%`));
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"])
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
    });
  document.addEventListener("drop", (event) => attempt(() => take(event.dataTransfer.files[0])));
  document.addEventListener("paste", (event) => attempt(() => take(event.clipboardData.files[0])));
  at("controls").addEventListener("submit", (event) => event.preventDefault());
}

await attempt(async () => {
  const answer = await fetch(new URL("site.json", import.meta.url));
  if (!answer.ok) throw new Error(`site.json: the server answered ${answer.status}`);
  const site = await answer.json();
  generator = await open(new URL(site.generator, import.meta.url));
  if (!generator.info.input) throw new Error("This generator takes no image.");
  const { reach } = JSON.parse(generator.info.manifest);
  const how = reach && !reach.whole && !generator.info.noise ? "Large images are computed in tiles." : "The whole image is computed at once.";
  at("about").textContent = `A neural network in this browser. Your image doesn't leave this page. ${how}`;
  for (const id of ["file", "side"]) at(id).disabled = false;
  at("noise").hidden = !generator.info.noise;
  listen();
  say("Ready: drop an image.");
});
