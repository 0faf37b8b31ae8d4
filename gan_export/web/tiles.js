// Split an image into tiles that overlap, and put their results together, as gan_export/sampling/tiles.py does.
// An image is {data, width, height}, rows of pixels of `channels` bytes.

const up = (value, step) => Math.ceil(value / step) * step;

// Return the image mirrored at its right and bottom edges to the sizes that the generator takes.
export function padded({ data, width, height }, input) {
  const size = (value, { least, multiple, most }) => {
    const found = up(Math.max(value, least), multiple);
    if (found > most) throw new RangeError(`an image of ${width} x ${height}: a side must be at most ${most}`);
    return found;
  };
  const [w, h] = [size(width, input.width), size(height, input.height)];
  if (w === width && h === height) return { data, width, height };
  const mirrored = (i, n) => {
    const period = Math.max(2 * (n - 1), 1);
    return n - 1 - Math.abs(n - 1 - (i % period));
  };
  const { channels } = input;
  const result = new Uint8Array(w * h * channels);
  for (let y = 0, to = 0; y < h; y++)
    for (let x = 0; x < w; x++)
      for (let c = 0, from = (mirrored(y, height) * width + mirrored(x, width)) * channels; c < channels; c++)
        result[to++] = data[from + c];
  return { data: result, width: w, height: h };
}

// Return the tiles of an image: {read, keep}, each {x, y, width, height} in pixels of the image.  One tile for a
// generator that sees the whole image, or of unknown reach.
export function plan({ width, height }, reach, tile, overlap) {
  const all = { x: 0, y: 0, width, height };
  if (!reach || reach.whole) return [{ read: all, keep: all }];
  const step = reach.multiple;
  const around = up(Math.min(overlap, reach.pixels), step);
  const window = up(Math.max(tile, step), step) + 2 * around;
  const tiles = [];
  for (const row of spans(height, window, around))
    for (const column of spans(width, window, around))
      tiles.push({
        read: { x: column.start, y: row.start, width: column.size, height: row.size },
        keep: { x: column.first, y: row.first, width: column.last - column.first, height: row.last - row.first },
      });
  return tiles;
}

function spans(whole, window, around) {
  if (window >= whole) return [{ start: 0, size: whole, first: 0, last: whole }];
  const found = [];
  for (let last = 0; last < whole; ) {
    const start = Math.min(found.length * (window - 2 * around), whole - window);
    const first = last;
    last = start + window === whole ? whole : start + window - around;
    found.push({ start, size: window, first, last });
  }
  return found;
}

// Return what a tile reads of an image.
export function piece({ data, width }, { read }, channels) {
  const row = read.width * channels;
  const result = new Uint8Array(row * read.height);
  for (let y = 0; y < read.height; y++) {
    const from = ((read.y + y) * width + read.x) * channels;
    result.set(data.subarray(from, from + row), y * row);
  }
  return { data: result, width: read.width, height: read.height };
}

// Copy what a tile keeps of its own result into the image's.
export function put(result, made, { read, keep }, channels) {
  const { scale } = result;
  const row = keep.width * scale * channels;
  for (let y = 0; y < keep.height * scale; y++) {
    const from = (((keep.y - read.y) * scale + y) * made.width + (keep.x - read.x) * scale) * channels;
    result.data.set(made.data.subarray(from, from + row), ((keep.y * scale + y) * result.width + keep.x * scale) * channels);
  }
}
