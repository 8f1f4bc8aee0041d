// From an image to what a model takes, as compressor/artifact/images.py does it: resize the short side, crop the centre, normalise.
// The resampling is Pillow's (src/libImaging/Resample.c), fixed point and all: equal to the last bit. Tests hold the two together.

const BITS = 22; // Pillow's PRECISION_BITS: of 32, 8 are the pixel's and 2 for overshoot
const FILTERS = {
  bilinear: [1, (x) => (x < 1 ? 1 - x : 0)],
  bicubic: [2, (x) => (x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0)],
};

/** {width, height, data: RGB} → RGB of size × size. */
export function toPixels(image, { size, crop_pct: share, interpolation }, tallFirst = true) {
  const short = Math.max(size, even(size / share)), scale = short / Math.min(image.width, image.height);
  const [width, height] = [image.width, image.height].map((side) => Math.max(short, even(side * scale)));
  if (width === image.width && height === image.height) {
    return cut(image, Math.floor((width - size) / 2), Math.floor((height - size) / 2), size);
  }
  const left = (width - size) / 2 / scale, top = (height - size) / 2 / scale;
  const box = [Math.max(left, 0), Math.max(top, 0), Math.min(left + size / scale, image.width), Math.min(top + size / scale, image.height)];
  return resize(image, size, interpolation, box, tallFirst);
}

/** Rounds as Python does: halves go to the even number. */
function even(value) {
  const down = Math.floor(value), rest = value - down;
  return rest > 0.5 || (rest === 0.5 && down % 2) ? down + 1 : down;
}

function cut({ width, data }, left, top, size) {
  const found = new Uint8Array(size * size * 3);
  for (let y = 0; y < size; y++) {
    const from = ((top + y) * width + left) * 3;
    found.set(data.subarray(from, from + size * 3), y * size * 3);
  }
  return found;
}

/** Pillow's `Image.resize((size, size), …, box)` of RGB. The passes round in between, so that their order matters: since
 * Pillow 13 the vertical one comes first where the height shrinks by more than twice as many pixels as the width. */
export function resize(image, size, interpolation, box, tallFirst = true) {
  const { width, height } = image, [left, top, right, bottom] = box.map(Math.fround); // C floats there
  if (interpolation === "nearest") return nearest(image, size, [left, top, right, bottom]);
  const across = width === size && left === 0 && right === size ? null : weights(width, left, right, size, interpolation);
  const down = height === size && top === 0 && bottom === size ? null : weights(height, top, bottom, size, interpolation);
  if (!across) return pass(image.data, down, size, size, size * 3, 3, size * 3, 3);
  if (!down) return pass(image.data, across, size, size, 3, width * 3, 3, size * 3);
  if (tallFirst && height - size > 2 * Math.max(0, width - size)) {
    const [first, columns] = read(across);
    const flat = pass(image.data.subarray(first * 3), down, size, columns, width * 3, 3, columns * 3, 3);
    return pass(flat, across, size, size, 3, columns * 3, 3, size * 3);
  }
  const [first, rows] = read(down);
  const narrow = pass(image.data.subarray(first * width * 3), across, size, rows, 3, width * 3, 3, size * 3);
  return pass(narrow, down, size, size, size * 3, 3, size * 3, 3);
}

/** First and number of the pixels that a pass reads; from now on it counts from the first. */
function read({ starts, counts }) {
  const first = starts[0], last = starts.length - 1, end = starts[last] + counts[last];
  starts.forEach((start, i) => (starts[i] = start - first));
  return [first, end - first];
}

/** One pass: `count` results along the way, for each of `lines` lines. Steps are in bytes, of what is read and written. */
function pass(data, { starts, counts, factors, most }, count, lines, along, between, alongOut, betweenOut) {
  const found = new Uint8ClampedArray(count * lines * 3);
  for (let line = 0; line < lines; line++) {
    for (let i = 0; i < count; i++) {
      let at = line * between + starts[i] * along, r = 1 << (BITS - 1), g = r, b = r;
      for (let k = i * most, end = k + counts[i]; k < end; k++, at += along) {
        const f = factors[k];
        r += data[at] * f;
        g += data[at + 1] * f;
        b += data[at + 2] * f;
      }
      const to = line * betweenOut + i * alongOut;
      found[to] = r >> BITS;
      found[to + 1] = g >> BITS;
      found[to + 2] = b >> BITS;
    }
  }
  return new Uint8Array(found.buffer);
}

function weights(side, from, to, size, interpolation) {
  const [reach, filter] = FILTERS[interpolation];
  const scale = Math.fround(to - from) / size, wide = Math.max(scale, 1), support = reach * wide, most = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(size), counts = new Int32Array(size), factors = new Int32Array(size * most);
  for (let i = 0; i < size; i++) {
    const centre = from + (i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support + 0.5)), count = Math.min(side, Math.trunc(centre + support + 0.5)) - start;
    const own = [];
    let sum = 0;
    for (let x = 0; x < count; x++) sum += own[x] = filter(Math.abs((x + start - centre + 0.5) * (1 / wide)));
    own.forEach((w, x) => {
      const share = sum ? w / sum : w;
      factors[i * most + x] = Math.trunc((share < 0 ? -0.5 : 0.5) + share * 2 ** BITS);
    });
    starts[i] = start;
    counts[i] = count;
  }
  return { starts, counts, factors, most };
}

function nearest({ width, height, data }, size, [left, top, right, bottom]) {
  const places = (from, to, side) => { // summed up step by step, as there: the last bit may matter
    const step = Math.fround(to - from) / size, found = [];
    for (let i = 0, at = from + step * 0.5; i < size; i++, at += step) found.push(Math.min(Math.floor(at), side - 1));
    return found;
  };
  const across = places(left, right, width), found = new Uint8Array(size * size * 3);
  places(top, bottom, height).forEach((y, row) => across.forEach((x, column) => {
    const from = (y * width + x) * 3;
    found.set(data.subarray(from, from + 3), (row * size + column) * 3);
  }));
  return found;
}

/** RGB → (3, size, size) float32 with the model's mean and std, in float32 at each step as numpy does it. */
export function normalise(pixels, { size, mean, std }) {
  const found = new Float32Array(pixels.length), plane = size * size;
  for (let c = 0; c < 3; c++) {
    const middle = Math.fround(Math.fround(mean[c]) * 255), width = Math.fround(Math.fround(std[c]) * 255);
    for (let i = 0; i < plane; i++) found[c * plane + i] = Math.fround(pixels[3 * i + c] - middle) / width;
  }
  return found;
}
