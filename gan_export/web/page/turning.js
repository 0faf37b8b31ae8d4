// A canvas with one volume that one can turn: by pointer, by arrow keys, or by itself; and its middle slices.
import { AZIMUTH, ELEVATION, Surface } from "./surface.js";

const SIDE = 256; // of the drawn view
const TURN = 0.6; // radians a second
const KEY = Math.PI / 18; // radians a key press
const STEEPEST = Math.PI / 2 - 0.01;
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

export class Turntable {
  #canvas;
  #level;
  #volume = null;
  #surface = null;
  #azimuth = AZIMUTH;
  #elevation = ELEVATION;
  #asked = false; // whether a drawing is due
  #last = 0; // the time of the last turn by itself

  constructor(canvas, level) {
    this.#canvas = canvas;
    this.#level = level;
    this.spinning = false;
    this.sliced = false;
    Object.assign(canvas, { width: SIDE, height: SIDE, tabIndex: 0 });
    canvas.addEventListener("pointerdown", (event) => this.#grab(event));
    canvas.addEventListener("keydown", (event) => {
      if (!KEYS[event.key] || this.sliced) return;
      event.preventDefault();
      this.turn(...KEYS[event.key].map((way) => way * KEY));
    });
  }

  show(volume) {
    this.#volume = volume;
    this.#surface = null;
    this.draw();
  }

  set level(level) {
    this.#level = level;
    if (this.#surface) this.#surface.level = level;
    this.draw();
  }

  // Move the surface to the right and upward by angles in radians.
  turn(right, up) {
    this.#azimuth += right;
    this.#elevation = Math.min(STEEPEST, Math.max(-STEEPEST, this.#elevation - up));
    this.draw();
  }

  // Draw once before the browser's next frame, and at each one while it spins.
  draw() {
    if (this.#asked || !this.#volume) return;
    this.#asked = true;
    requestAnimationFrame((now) => {
      this.#asked = false;
      const spins = this.spinning && !this.sliced;
      if (spins && this.#last) this.#azimuth += (Math.min(now - this.#last, 100) / 1000) * TURN;
      this.#last = spins ? now : 0;
      if (this.sliced) this.#drawSlices();
      else this.#drawSurface();
      if (spins) this.draw();
    });
  }

  #drawSurface() {
    this.#surface ??= new Surface(this.#volume, this.#level);
    this.#canvas.height = SIDE;
    const view = this.#surface.view(SIDE, this.#azimuth, this.#elevation);
    this.#canvas.getContext("2d").putImageData(new ImageData(view, SIDE, SIDE), 0, 0);
  }

  // Draw the middle slices across D, H and W side by side, nearest pixels.
  #drawSlices() {
    const { depth, height, width } = this.#volume;
    const cuts = [
      [height, width, (y, x) => ((depth >> 1) * height + y) * width + x],
      [depth, width, (y, x) => (y * height + (height >> 1)) * width + x],
      [depth, height, (y, x) => (y * height + x) * width + (width >> 1)],
    ];
    const side = Math.floor(SIDE / cuts.length) - 1; // and a gap
    const longest = Math.max(depth, height, width);
    this.#canvas.height = side;
    const image = new ImageData(SIDE, side);
    cuts.forEach(([rows, columns, index], cut) => {
      for (let y = 0; y < Math.floor((rows / longest) * side); y++)
        for (let x = 0; x < Math.floor((columns / longest) * side); x++) {
          const value = this.#volume.data[index(Math.floor((y * longest) / side), Math.floor((x * longest) / side))];
          image.data.set([value, value, value, 255], 4 * (y * SIDE + cut * (side + 1) + x));
        }
    });
    this.#canvas.getContext("2d").putImageData(image, 0, 0);
  }

  // Turn with the pointer until it is released: the width of the canvas is half a turn.
  #grab(event) {
    if (this.sliced) return;
    const canvas = this.#canvas;
    canvas.setPointerCapture(event.pointerId);
    const spun = this.spinning;
    this.spinning = false;
    let [x, y] = [event.clientX, event.clientY];
    const move = (moved) => {
      const share = Math.PI / canvas.getBoundingClientRect().width;
      this.turn((moved.clientX - x) * share, (y - moved.clientY) * share);
      [x, y] = [moved.clientX, moved.clientY];
    };
    const release = () => {
      canvas.removeEventListener("pointermove", move);
      canvas.removeEventListener("lostpointercapture", release);
      this.spinning = spun;
      this.draw();
    };
    canvas.addEventListener("pointermove", move);
    canvas.addEventListener("lostpointercapture", release);
  }
}
