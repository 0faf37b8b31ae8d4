// The page: a grid of images or volumes from a seed, and one from its latents.  All files that it loads are beside it.
import { open } from "./gan.js";
import { labels } from "./latents.js";
import { StyleControls, worded } from "./style_controls.js";
import { VolumeView } from "./volume_view.js";
import { Walk } from "./walk.js";

const SLIDERS = 12; // latents with a slider; the others keep their values
const BUTTONS = 100; // up to this number of labels, each has a button; a larger one is typed
const at = (id) => document.getElementById(id);

// What is shown; `wish` is the start and label of the next grid, until it is generated or refused.
const state = { seed: 7n, start: 0n, label: "random", chosen: 0, latents: null, pictures: null, backend: "engine", mix: [] };
const wish = { start: 0n, label: "random" };
const turns = { grid: 0, single: 0 }; // the latest request of each kind; earlier results are dropped
const running = {}; // the request of each kind that runs
let generator;

// How images are shown; of a generator of volumes, a VolumeView.
let view = {
  noun: "Image",
  cellSize: ({ width, height }) => [width, height],
  cell: (pictures, i) => pictures.toImageData(i),
  show: (pictures, i = 0) => paintOne(at("single"), pictures, i),
};

function say(text, isError = false) {
  at("status").textContent = text;
  at("status").classList.toggle("error", isError);
}

// Run `work`, and show its error in the status line.
async function attempt(work) {
  try {
    await work();
  } catch (e) {
    say(e.message, true);
  }
}

// Return what `generate` gives; null if a later call of its kind was made meanwhile.  One of each kind runs at a time, and
// of those that wait only the latest will: a slider asks for more than can be generated.
async function latest(kind, generate) {
  const turn = ++turns[kind];
  await running[kind];
  if (turn !== turns[kind]) return null;
  const work = generate();
  running[kind] = work.catch(() => {});
  try {
    const made = await work;
    return turn === turns[kind] ? made : null;
  } catch (e) {
    if (turn !== turns[kind]) return null;
    throw e;
  }
}

function readSeed(id = "seed") {
  const text = at(id).value.trim();
  if (!/^\d+$/.test(text) || BigInt(text) >= 2n ** 64n) throw new RangeError("The seed must be a whole number from 0 to 2^64-1.");
  return BigInt(text);
}

const styles = new StyleControls(at, readSeed);

function paint(canvas, pictures, columns) {
  const rows = Math.ceil(pictures.count / columns);
  const [width, height] = view.cellSize(pictures);
  canvas.width = columns * width;
  canvas.height = rows * height;
  const context = canvas.getContext("2d");
  for (let i = 0; i < pictures.count; i++)
    context.putImageData(view.cell(pictures, i), (i % columns) * width, Math.floor(i / columns) * height);
  if (canvas !== at("grid") || pictures.count === 1) return;
  context.strokeStyle = "#ff9f1a";
  const line = Math.max(1, Math.round(Math.min(width / 16, canvas.width / 128)));
  context.lineWidth = line;
  const left = (state.chosen % columns) * width;
  const top = Math.floor(state.chosen / columns) * height;
  context.strokeRect(left + line / 2, top + line / 2, width - line, height - line);
}

function paintOne(canvas, pictures, i) {
  [canvas.width, canvas.height] = [pictures.width, pictures.height];
  canvas.getContext("2d").putImageData(pictures.toImageData(i), 0, 0);
}

const repaint = () => state.pictures && paint(at("grid"), state.pictures, columnsOf(state.pictures.count));
const columnsOf = (count) => Math.ceil(Math.sqrt(count));

function describeLabel() {
  return state.label === "random" ? "" : `, label ${state.label}`;
}

// The numbers that images take beside their latents: StyleGAN's psi, if the generator has it as an input.
const scalars = () => (generator.info.scalars === 1 ? new Float32Array([Number(at("psi").value)]) : null);

async function drawGrid() {
  turns.grid++; // drops a running request even if this one is refused
  const count = Number(at("count").value);
  const request = { ...wish, count, scalars: scalars() };
  let made;
  try {
    request.seed = readSeed();
    request.mix = styles.mix();
    made = await latest("grid", async () => [await generator.generate(request), await mixSource(request)]);
  } catch (e) {
    Object.assign(wish, { start: state.start, label: state.label });
    throw e;
  }
  if (!made) return;
  const [pictures, source] = made;
  const { seed, start, label, mix } = request;
  Object.assign(state, { seed, start, label, mix, pictures, chosen: Math.min(state.chosen, count - 1) });
  at("mix-source").hidden = !source;
  if (source) paintOne(at("source"), source, 0);
  showLabel();
  paint(at("grid"), pictures, columnsOf(count));
  const last = start + BigInt(count) - 1n;
  const range = count === 1 ? `${view.noun} ${last}` : `${view.noun}s ${start} to ${last}`;
  at("grid").setAttribute("aria-label", `${range} of seed ${seed}${describeLabel()}; ${view.noun.toLowerCase()} ${start + BigInt(state.chosen)} is chosen`);
  say(`${range} of seed ${seed}${describeLabel()}${worded(mix)}: ${speed(pictures)} ${view.noun.toLowerCase()}s/s`);
  at("backend").textContent = `Backend: ${generator.backend}`;
  choose(state.chosen);
}

function speed({ count, milliseconds }) {
  const rate = (count / milliseconds) * 1000;
  return rate < 10 ? rate.toPrecision(2) : Math.round(rate).toLocaleString("en");
}

// The image whose w the mixed layers take; null if none is mixed.
async function mixSource({ mix, label, scalars }) {
  if (!mix.length) return null;
  return generator.generate({ seed: mix[0].seed, label: typeof label === "number" ? label : "random", scalars });
}

// Show image i of the grid in detail, as it is there.
function choose(i) {
  walk.stop();
  state.chosen = i;
  repaint();
  state.latents = generator.latents({ seed: state.seed, start: state.start + BigInt(i) });
  showLatents();
  turns.single++;
  if (state.pictures) view.show(state.pictures, i);
}

// Return the label that the chosen image has in the grid.
function singleLabel() {
  const { classes } = generator.info;
  const index = state.start + BigInt(state.chosen);
  if (!classes || typeof state.label === "number") return state.label;
  return state.label === "all" ? Number(index % BigInt(classes)) : labels(state.seed, index, 1, classes)[0];
}

// What the chosen image has in the grid, noise too, whatever its numbers become.
const chosen = () => ({ seed: state.seed, start: state.start + BigInt(state.chosen), label: singleLabel() });

async function drawSingle(ws = null) {
  const request = ws ? { ...chosen(), ws } : { ...chosen(), latents: state.latents, scalars: scalars(), mix: state.mix };
  const pictures = await latest("single", () => generator.generate(request));
  if (pictures) view.show(pictures);
}

function showLatents() {
  for (const input of at("sliders").querySelectorAll("input")) {
    const value = state.latents[Number(input.dataset.at)];
    input.value = value;
    input.nextElementSibling.textContent = value.toFixed(2);
  }
}

// The backends: the engine, and onnxruntime-web if it is beside the page.
const here = (name) => new URL(name, import.meta.url);
const backends = {};

async function findBackends() {
  const answer = await fetch(here("site.json"));
  if (!answer.ok) throw new Error(`site.json: the server answered ${answer.status}`);
  const { generator: file, mapping, onnx } = await answer.json();
  const options = mapping ? { mapping: here(mapping) } : {};
  backends.engine = { title: "WebAssembly engine", open: () => open(here(file), options) };
  for (const provider of Object.keys(onnx?.bundles ?? {}))
    if (provider !== "webgpu" || navigator.gpu)
      backends[provider] = { title: `onnxruntime-web, ${provider}`, open: () => openOnnx(onnx, provider) };
}

async function openOnnx(onnx, provider) {
  const runtime = here(onnx.runtime);
  const ort = await import(new URL(onnx.bundles[provider], runtime));
  ort.env.wasm.wasmPaths = runtime.href;
  return open(here(onnx.generator), { ort, providers: [provider] });
}

function makeBackends() {
  const names = Object.keys(backends);
  at("backends").hidden = names.length === 1;
  at("choice").append(...names.map((name) => new Option(backends[name].title, name)));
}

// Generate the same images by another backend; if it can't start, keep the present one.
async function change() {
  const name = at("choice").value;
  walk.stop();
  say(`Loading ${backends[name].title} …`);
  at("choice").disabled = true;
  try {
    const next = await backends[name].open();
    walk.stop();
    for (const kind of ["grid", "single"]) turns[kind]++; // errors of the closed backend are not shown
    generator.close();
    generator = next;
    state.backend = name;
  } finally {
    at("choice").disabled = false;
    at("choice").value = state.backend;
  }
  await drawGrid();
}

function makeSliders() {
  const reach = generator.info.prior === "uniform" ? 1 : 3;
  for (let i = 0; i < Math.min(SLIDERS, generator.info.latentSize); i++) {
    const label = document.createElement("label");
    const name = document.createElement("span");
    name.textContent = `z${i}`;
    const input = Object.assign(document.createElement("input"), { type: "range", min: -reach, max: reach, step: 0.01 });
    input.dataset.at = i;
    const value = document.createElement("output");
    input.addEventListener("input", () =>
      attempt(async () => {
        walk.stop();
        state.latents[i] = Number(input.value);
        value.textContent = Number(input.value).toFixed(2);
        await drawSingle();
      }),
    );
    label.append(name, input, value);
    at("sliders").append(label);
  }
}

function wishLabel(label) {
  wish.label = label;
  return drawGrid();
}

function makeLabels() {
  const { classes } = generator.info;
  if (!classes) return;
  at("labels").hidden = false;
  const box = at("labels").querySelector(".buttons");
  for (const name of ["random", "all", ...Array(classes <= BUTTONS ? classes : 0).keys()]) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
    button.addEventListener("click", () => attempt(() => wishLabel(name)));
    box.append(button);
  }
  if (classes > BUTTONS) box.append(labelInput(classes - 1));
  showLabel();
}

function labelInput(most) {
  const label = Object.assign(document.createElement("label"), { textContent: `0 to ${most}: ` });
  const input = Object.assign(document.createElement("input"), { type: "number", id: "label", min: 0, max: most });
  input.addEventListener("change", () =>
    attempt(() => {
      if (!input.validity.valid || !input.value) throw new RangeError(`The label must be a whole number from 0 to ${most}.`);
      return wishLabel(Number(input.value));
    }),
  );
  label.append(input);
  return label;
}

function showLabel() {
  for (const button of at("labels").querySelectorAll("button"))
    button.setAttribute("aria-pressed", String(button.textContent === String(state.label)));
  if (at("label")) at("label").value = typeof state.label === "number" ? state.label : "";
}

async function save() {
  const { pictures, seed } = state;
  if (!pictures) throw new Error("There are no images to save yet.");
  const canvas = document.createElement("canvas");
  const columns = columnsOf(pictures.count);
  paint(canvas, pictures, columns);
  const blob = await new Promise((give) => canvas.toBlob(give, "image/png"));
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: `seed-${seed}.png` });
  link.click();
  URL.revokeObjectURL(link.href);
  say(`Saved seed-${seed}.png`);
}

// The walk moves the w of each layer, or else the latents.
const walk = new Walk(at("walk"), {
  begin: () => [state.chosen, state.latents],
  latents: (i) => generator.latents({ seed: state.seed, start: state.start + BigInt(i) }),
  numbers: (latents) =>
    generator.info.styles ? generator.map({ ...chosen(), latents, scalars: scalars(), mix: state.mix }) : latents,
  normal: () => !generator.info.styles && generator.info.prior === "normal",
  show(numbers, reached) {
    const { styles: hasStyles } = generator.info;
    state.latents = hasStyles ? reached : numbers;
    showLatents();
    return drawSingle(hasStyles ? numbers : null);
  },
});

function on(id, event, work) {
  at(id).addEventListener(event, (e) => {
    e.preventDefault();
    attempt(() => work(e));
  });
}

function restart() {
  wish.start = 0n;
  return drawGrid();
}

function pick(event) {
  if (!state.pictures) return undefined;
  const { count } = state.pictures;
  const columns = columnsOf(count);
  const box = at("grid").getBoundingClientRect();
  const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
  const row = Math.floor(((event.clientY - box.top) / box.height) * Math.ceil(count / columns));
  const i = row * columns + column;
  return i >= 0 && i < count ? choose(i) : undefined;
}

const MOVES = { ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: (n) => -n, ArrowDown: (n) => n };
at("grid").addEventListener("keydown", (event) => {
  const move = MOVES[event.key];
  if (!move || !state.pictures) return;
  event.preventDefault();
  const to = state.chosen + move(columnsOf(state.pictures.count));
  if (to >= 0 && to < state.pictures.count)
    attempt(async () => {
      choose(to);
      say(`${view.noun} ${state.start + BigInt(to)} of seed ${state.seed} is chosen`);
    });
});
on("controls", "submit", restart);
on("count", "change", restart);
on("psi", "input", () => {
  at("psi-value").textContent = Number(at("psi").value).toFixed(2);
  return drawGrid();
});
on("choice", "change", change);
on("random", "click", () => {
  at("seed").value = String(crypto.getRandomValues(new BigUint64Array(1))[0]);
  return restart();
});
on("more", "click", () => {
  wish.start += BigInt(at("count").value);
  return drawGrid();
});
on("save", "click", save);
on("grid", "click", pick);
on("walk", "click", () => walk.turn());
on("reset", "click", () => choose(state.chosen));

await attempt(async () => {
  await findBackends();
  generator = await backends.engine.open();
  const { depth, width, height, channels, latentSize, classes } = generator.info;
  if (depth) view = new VolumeView(at, generator.info, repaint);
  else document.body.classList.toggle("large", width * height > 2 ** 14);
  const kinds = classes ? `, ${classes} labels` : "";
  at("about").textContent = `${view.size ?? `${width} × ${height}, ${channels === 1 ? "gray" : `${channels} channels`}`}, from ${latentSize} random numbers each${kinds}. Generated in this browser.`;
  at("count").value = width * height > 2 ** 17 ? 1 : depth || width * height > 2 ** 14 ? 16 : 64; // large ones take long
  at("truncation").hidden = generator.info.scalars !== 1;
  styles.show(generator.info.styles, () => attempt(drawGrid));
  makeBackends();
  makeSliders();
  makeLabels();
  state.latents = generator.latents({ seed: state.seed }); // for the sliders, even if the grid can't be generated
  for (const control of document.querySelectorAll("main :disabled")) control.disabled = false;
  await drawGrid();
});
