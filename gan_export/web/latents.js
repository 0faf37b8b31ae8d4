// Latents of a seed, bit by bit as docs/latent-rng.md defines them, for backends that don't compute them.

const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;

// Return the high 32 bits of a 32 x 32-bit product, by halves: no value exceeds 2^53.
function high(a, b) {
  const low = (a & 0xffff) * b;
  return Math.floor((low / 65536 + (a >>> 16) * b) / 65536) >>> 0;
}

// Return one Philox4x32-10 block: four words from four counter words and two key words.
export function philox(c0, c1, c2, c3, k0, k1) {
  for (let round = 0; round < 10; round++) {
    const n0 = (high(M1, c2) ^ c1 ^ k0) >>> 0;
    const n2 = (high(M0, c0) ^ c3 ^ k1) >>> 0;
    c1 = Math.imul(M1, c2) >>> 0;
    c3 = Math.imul(M0, c0) >>> 0;
    c0 = n0;
    c2 = n2;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

// Wichura's AS 241, for its middle range and its nearer tail: numerators and denominators, highest power first.
const A = [
  2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
  1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.387132872796366608,
];
const B = [
  5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
  5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1,
];
const C = [
  7.7454501427834140764e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258,
  3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734,
];
const D = [
  1.05075007164441684324e-9, 5.475938084995344946e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
  6.89767334985100004550e-1, 1.6763848301838038494, 2.05319162663775882187, 1,
];

function horner(x, coefficients) {
  return coefficients.reduce((value, a) => value * x + a);
}

function minusLog(p) {
  let m = p;
  let k = 0;
  while (m < 1) {
    m *= 2;
    k += 1;
  }
  const s = (m - 1) / (m + 1);
  const v = s * s;
  let series = 1 / 35;
  for (let n = 33; n > 0; n -= 2) series = series * v + 1 / n;
  return k * 0.6931471805599453 - 2 * s * series;
}

// Return T[u] of the prior, 65,536 floats.
export function table(prior) {
  const t = new Float32Array(65536);
  for (let u = 0; u < 32768; u++) {
    if (prior === "uniform") {
      t[u] = (u + 0.5) / 32768 - 1;
    } else {
      const p = (u + 0.5) / 65536;
      const q = 0.5 - p;
      if (q <= 0.425) {
        const r = 0.180625 - q * q;
        t[u] = -(q * (horner(r, A) / horner(r, B)));
      } else {
        const r = Math.sqrt(minusLog(p)) - 1.6;
        t[u] = -(horner(r, C) / horner(r, D));
      }
    }
    t[65535 - u] = -t[u];
  }
  return t;
}

const words = (big) => [Number(big & 0xffffffffn), Number((big >> 32n) & 0xffffffffn)];

// Return the latents of images start .. start+count-1, Float32Array of count x size, by the prior's table.
export function draw(t, seed, start, count, size) {
  const out = new Float32Array(count * size);
  const [k0, k1] = words(seed);
  for (let i = 0; i < count; i++) {
    const [low, up] = words(start + BigInt(i));
    for (let block = 0; block * 8 < size; block++) {
      const w = philox(block, 0, low, up, k0, k1);
      for (let j = 0; j < 8 && block * 8 + j < size; j++)
        out[i * size + block * 8 + j] = t[(w[j >> 1] >>> (16 * (j & 1))) & 0xffff];
    }
  }
  return out;
}

// Return random labels of the same images, each 0 .. classes-1.
export function labels(seed, start, count, classes) {
  const [k0, k1] = words(seed);
  return Array.from({ length: count }, (_, i) => {
    const [low, up] = words(start + BigInt(i));
    return Number((BigInt(philox(0, 1, low, up, k0, k1)[0]) * BigInt(classes)) >> 32n);
  });
}
