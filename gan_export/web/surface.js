// The shaded surface of a volume, as volumes.py draws it: parallel rays, each to its first crossing of a level.
// Plain arithmetic on arrays, for any canvas; a table of distances lets rays leap over what is empty.

const LIGHT = unit([-0.45, 0.65, 0.62]); // to the right, up and toward the camera
const AMBIENT = 0.25;
const SHOWN = 0.7; // half the width of the view, in longest sides
const NEAR = 1.25; // voxels on each side over which the normal is measured
const STEP = 0.5; // voxels along a ray, close to the surface
const COLOR = [0.62, 0.79, 1]; // of full light, seen on light and on dark pages
const FAR = 255;
const BORDER = 2; // voxels of zeros around the values, so that every cell that a ray reads has all its neighbors

export const AZIMUTH = (35 / 180) * Math.PI;
export const ELEVATION = (25 / 180) * Math.PI;

export class Surface {
  #side; // depth, height and width with the border
  #values;
  #distance; // per cell of 8 neighbors: cells to the nearest one that the surface can cross
  #level;

  // volume: {data: Uint8Array, depth, height, width}; it is solid above `level`, a share of 255.
  constructor({ data, depth, height, width }, level = 0.5) {
    this.#side = [depth, height, width].map((n) => n + 2 * BORDER);
    const [all, rows, columns] = this.#side;
    this.#values = new Uint8Array(all * rows * columns);
    for (let d = 0; d < depth; d++)
      for (let h = 0; h < height; h++) {
        const from = (d * height + h) * width;
        this.#values.set(data.subarray(from, from + width), ((d + BORDER) * rows + h + BORDER) * columns + BORDER);
      }
    this.level = level;
  }

  get level() {
    return this.#level / 255;
  }

  set level(share) {
    this.#level = share * 255;
    this.#distance = distances(crossed(this.#values, this.#side, this.#level), this.#side);
  }

  // Return a view as RGBA, side x side, transparent beside the surface.  Angles are of the camera, in radians.
  view(side, azimuth = AZIMUTH, elevation = ELEVATION) {
    const { right, up, toward } = camera(azimuth, elevation);
    const rgba = new Uint8ClampedArray(side * side * 4);
    const light = right.map((r, i) => LIGHT[0] * r + LIGHT[1] * up[i] + LIGHT[2] * toward[i]);
    const longest = Math.max(...this.#side) - 2 * BORDER;
    const middle = this.#side.map((n) => (n - 1) / 2);
    for (let y = 0; y < side; y++) {
      const upward = (1 - ((y + 0.5) / side) * 2) * SHOWN * longest;
      for (let x = 0; x < side; x++) {
        const across = (((x + 0.5) / side) * 2 - 1) * SHOWN * longest;
        const start = middle.map((m, i) => m + across * right[i] + upward * up[i]);
        const hit = this.#crossing(start, toward);
        if (!hit) continue;
        const shade = (40 + 215 * (AMBIENT + (1 - AMBIENT) * Math.max(0, this.#facing(hit, light)))) | 0;
        const to = 4 * (y * side + x);
        for (let c = 0; c < 3; c++) rgba[to + c] = shade * COLOR[c];
        rgba[to + 3] = 255;
      }
    }
    return rgba;
  }

  // Return the first point of the solid on the line through `start`, for a viewer in the direction `toward`; or null.
  #crossing(start, toward) {
    const [, height, width] = this.#side;
    let from = -Infinity; // along the view, while the line is in the box
    let to = Infinity;
    for (let i = 0; i < 3; i++) {
      const low = 1.001 - start[i];
      const high = this.#side[i] - 2.001 - start[i];
      if (Math.abs(toward[i]) < 1e-9) {
        if (low > 0 || high < 0) return null;
        continue;
      }
      const ends = [-low / toward[i], -high / toward[i]];
      from = Math.max(from, Math.min(...ends));
      to = Math.min(to, Math.max(...ends));
    }
    let outside = 0; // the value at the point before
    let step = 0; // from there
    for (let t = from; t <= to; t += step) {
      const d = start[0] - t * toward[0];
      const h = start[1] - t * toward[1];
      const w = start[2] - t * toward[2];
      const leap = this.#distance[((d | 0) * height + (h | 0)) * width + (w | 0)];
      const value = leap ? 0 : this.#at(d, h, w);
      if (value > this.#level) {
        const back = step * Math.min(1, (value - this.#level) / Math.max(value - outside, 1e-9));
        return [d + back * toward[0], h + back * toward[1], w + back * toward[2]];
      }
      outside = value;
      step = Math.max(leap - 1, STEP);
    }
    return null;
  }

  // The cosine between the surface's normal at a point and the light.
  #facing([d, h, w], light) {
    const slope = [
      this.#at(d - NEAR, h, w) - this.#at(d + NEAR, h, w),
      this.#at(d, h - NEAR, w) - this.#at(d, h + NEAR, w),
      this.#at(d, h, w - NEAR) - this.#at(d, h, w + NEAR),
    ];
    const length = Math.hypot(...slope);
    return (slope[0] * light[0] + slope[1] * light[1] + slope[2] * light[2]) / Math.max(length, 1e-9);
  }

  // The value at a point, interpolated linearly; beyond the border it is the border's, 0.
  #at(d, h, w) {
    const [depth, height, width] = this.#side;
    const v = this.#values;
    d = Math.min(Math.max(d, 0), depth - 1.001);
    h = Math.min(Math.max(h, 0), height - 1.001);
    w = Math.min(Math.max(w, 0), width - 1.001);
    const i = d | 0;
    const j = h | 0;
    const k = w | 0;
    const at = (i * height + j) * width + k;
    const below = at + height * width;
    d -= i;
    h -= j;
    w -= k;
    const line = (p) => v[p] + w * (v[p + 1] - v[p]);
    const near = line(at) + h * (line(at + width) - line(at));
    const far = line(below) + h * (line(below + width) - line(below));
    return near + d * (far - near);
  }
}

// Mark the cells with a corner above the level: 0 there, FAR elsewhere.  Cell (d, h, w) has its first corner there.
function crossed(values, [depth, height, width], level) {
  const cells = new Uint8Array(values.length).fill(FAR);
  const corners = [0, 1].flatMap((d) => [0, 1].flatMap((h) => [0, 1].map((w) => (d * height + h) * width + w)));
  for (let d = 1; d < depth; d++)
    for (let h = 1; h < height; h++)
      for (let w = 1, at = (d * height + h) * width + 1; w < width; w++, at++)
        if (values[at] > level) for (const back of corners) cells[at - back] = 0;
  return cells;
}

// Replace FAR by the number of cells to the nearest 0, diagonal steps included: two passes over all neighbors.
function distances(cells, [depth, height, width]) {
  const ahead = [];
  for (let d = -1; d <= 0; d++)
    for (let h = -1; h <= 1; h++)
      for (let w = -1; w <= 1; w++) {
        const step = (d * height + h) * width + w;
        if (step < 0) ahead.push(step);
      }
  const least = (at, sign) => {
    let nearest = cells[at] - 1;
    for (const step of ahead) nearest = Math.min(nearest, cells[at + sign * step]);
    if (nearest + 1 < cells[at]) cells[at] = nearest + 1;
  };
  for (let d = 1; d < depth - 1; d++)
    for (let h = 1; h < height - 1; h++) for (let w = 1; w < width - 1; w++) least((d * height + h) * width + w, 1);
  for (let d = depth - 2; d > 0; d--)
    for (let h = height - 2; h > 0; h--) for (let w = width - 2; w > 0; w--) least((d * height + h) * width + w, -1);
  return cells;
}

// Unit vectors in the order D, H, W; D is upward.
function camera(azimuth, elevation) {
  const [sa, ca, se, ce] = [Math.sin(azimuth), Math.cos(azimuth), Math.sin(elevation), Math.cos(elevation)];
  return { right: [0, -ca, sa], up: [ce, -se * sa, -se * ca], toward: [se, ce * sa, ce * ca] };
}

function unit(vector) {
  const length = Math.hypot(...vector);
  return vector.map((v) => v / length);
}
