// A PNG as 8-bit RGB, upright, on white: what `open_image` (compressor/artifact/images.py) gives. Tests hold the two together.
// A canvas would not do: it premultiplies alpha, which loses bits, and cuts 16-bit greys.

export const LARGEST = 89_000_000; // pixels

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const CHANNELS = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const DEPTHS = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] };
const WHOLE = [[0, 0, 1, 1]]; // x, y of the first pixel and the steps between pixels
const ADAM7 = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];

export const isPng = (bytes) => SIGNATURE.every((byte, i) => bytes[i] === byte);

/** Uint8Array → {width, height, data: RGB}. Throws an Error in a person's words. */
export async function decodePng(bytes) {
  const file = chunks(bytes), { width, height, depth, colour } = file;
  if (width * height > LARGEST) throw tooLarge(width, height);
  const passes = (file.interlaced ? ADAM7 : WHOLE).map(([x, y, dx, dy]) => {
    const w = Math.max(0, Math.ceil((width - x) / dx)), h = Math.max(0, Math.ceil((height - y) / dy));
    return { x, y, dx, dy, w, h, stride: Math.ceil((w * CHANNELS[colour] * depth) / 8) };
  }).filter((pass) => pass.w && pass.h);
  const raw = await inflated(file.data, passes.reduce((sum, p) => sum + (p.stride + 1) * p.h, 0));
  const rgb = new Uint8Array(width * height * 3), put = painter(file), step = Math.max(1, (CHANNELS[colour] * depth) >> 3);
  const plain = colour === 2 && depth === 8 && !file.clear && !file.interlaced; // most photographs and screenshots
  let at = 0;
  for (const pass of passes) {
    let above = new Uint8Array(pass.stride);
    for (let y = 0; y < pass.h; y++, at += pass.stride + 1) {
      const row = raw.subarray(at + 1, at + 1 + pass.stride);
      unfilter(raw[at], row, above, step);
      if (plain) rgb.set(row, y * pass.stride);
      else for (let x = 0; x < pass.w; x++) put(row, x, rgb, ((pass.y + y * pass.dy) * width + pass.x + x * pass.dx) * 3);
      above = row;
    }
  }
  return upright({ width, height, data: rgb }, file.orientation);
}

export const tooLarge = (width, height) => new Error(`${width} × ${height} pixels, more than ${LARGEST / 1e6} million`);

function chunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), found = { data: [], orientation: 1 };
  for (let at = 8; at + 12 <= bytes.length; ) {
    const size = view.getUint32(at), kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8)), start = at + 8;
    if (start + size > bytes.length) break;
    const body = bytes.subarray(start, start + size);
    if (kind === "IHDR") {
      Object.assign(found, { width: view.getUint32(start), height: view.getUint32(start + 4), depth: body[8], colour: body[9],
        interlaced: body[12] === 1 });
    } else if (kind === "PLTE") found.palette = body;
    else if (kind === "tRNS") found.clear = body;
    else if (kind === "eXIf") found.orientation = exifOrientation(body);
    else if (kind === "IDAT") found.data.push(body);
    else if (kind === "IEND") break;
    at = start + size + 4;
  }
  if (!found.width || !found.height || !DEPTHS[found.colour]?.includes(found.depth)) throw new Error("a damaged PNG");
  return found;
}

/** 1…8; 1 where it says nothing. */
export function exifOrientation(body) {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength), little = body[0] === 0x49;
  try {
    const start = view.getUint32(4, little);
    for (let i = 0; i < view.getUint16(start, little); i++) {
      const entry = start + 2 + 12 * i;
      if (view.getUint16(entry, little) === 0x0112) return view.getUint16(entry + 8, little);
    }
  } catch { /* damaged EXIF says nothing */ }
  return 1;
}

/** Exactly `size` bytes; what follows them is not looked at. */
async function inflated(parts, size) {
  const reader = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  const found = new Uint8Array(size);
  let at = 0;
  try {
    while (at < size) {
      const { done, value } = await reader.read();
      if (done) break;
      found.set(value.subarray(0, size - at), at);
      at += value.length;
    }
    reader.cancel().catch(() => {});
  } catch { /* what came before the damage may be all */ }
  if (at < size) throw new Error("a damaged PNG: it ends too early");
  return found;
}

function unfilter(kind, row, above, step) {
  if (kind > 4) throw new Error("a damaged PNG");
  for (let i = 0; kind && i < row.length; i++) {
    const left = i < step ? 0 : row[i - step], up = above[i], corner = i < step ? 0 : above[i - step];
    if (kind === 1) row[i] += left;
    else if (kind === 2) row[i] += up;
    else if (kind === 3) row[i] += (left + up) >> 1;
    else {
      const p = left + up - corner, a = Math.abs(p - left), b = Math.abs(p - up), c = Math.abs(p - corner);
      row[i] += a <= b && a <= c ? left : b <= c ? up : corner;
    }
  }
}

/** A function that writes pixel x of a row as RGB; of 16 bits the upper ones, but of greys the nearest, as Pillow has them. */
function painter({ depth, colour, palette = new Uint8Array(), clear }) {
  const bytes = depth >> 3;
  if (colour === 3) {
    return (row, x, to, at) => {
      const i = bits(row, x, depth), alpha = clear ? (clear[i] ?? 255) : 255;
      for (let c = 0; c < 3; c++) to[at + c] = onWhite(palette[3 * i + c] ?? 0, alpha);
    };
  }
  if (colour === 0) {
    const scale = 255 / (2 ** depth - 1), none = clear && depth < 16 ? clear[1] : -1;
    return (row, x, to, at) => {
      const grey = depth === 16 ? Math.round((row[2 * x] * 256 + row[2 * x + 1]) / 257) : bits(row, x, depth) * scale;
      to[at] = to[at + 1] = to[at + 2] = grey === none ? 255 : grey;
    };
  }
  const channels = CHANNELS[colour];
  return (row, x, to, at) => {
    const first = x * channels * bytes, value = (c) => row[first + c * bytes];
    let alpha = channels % 2 ? 255 : value(channels - 1);
    if (colour === 2 && clear && value(0) === clear[1] && value(1) === clear[3] && value(2) === clear[5]) alpha = 0;
    for (let c = 0; c < 3; c++) to[at + c] = onWhite(value(channels > 2 ? c : 0), alpha);
  };
}

const bits = (row, x, depth) => (depth === 8 ? row[x] : (row[(x * depth) >> 3] >> (8 - depth - ((x * depth) & 7))) & (2 ** depth - 1));

/** Pillow's `alpha_composite` over white, in its integers. */
function onWhite(value, alpha) {
  if (alpha === 255) return value;
  if (alpha === 0) return 255;
  const own = alpha * 128, sum = value * own + 255 * (255 * 128 - own) + (128 << 7);
  return (((sum >> 8) + sum) >> 8) >> 7;
}

/** The image as its EXIF orientation (1…8) says it is to be seen. */
export function upright({ width, height, data }, orientation) {
  if (!(orientation >= 2 && orientation <= 8)) return { width, height, data };
  const turned = orientation > 4, w = turned ? height : width, h = turned ? width : height, out = new Uint8Array(data.length);
  const mirrored = [2, 3, 7, 8].includes(orientation), flipped = [3, 4, 6, 7].includes(orientation);
  for (let y = 0, to = 0; y < h; y++) {
    for (let x = 0; x < w; x++, to += 3) {
      const a = turned ? y : x, b = turned ? x : y;
      const from = ((flipped ? height - 1 - b : b) * width + (mirrored ? width - 1 - a : a)) * 3;
      out[to] = data[from];
      out[to + 1] = data[from + 1];
      out[to + 2] = data[from + 2];
    }
  }
  return { width: w, height: h, data: out };
}
