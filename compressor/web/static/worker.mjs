// Where models run, so that the page never waits: an image or texts in, labels with probabilities out.
import { normalise, toPixels } from "./pixels.mjs";
import { decodePng, exifOrientation, isPng, LARGEST, tooLarge, upright } from "./png.mjs";
import { encoder } from "./text.mjs";

const SHOWN = 5; // labels
const device = new URL(self.location.href).searchParams.get("device") === "webgpu" ? "webgpu" : "wasm";
const runtime = import(`./ort.${device}.min.mjs`).then((ort) => {
  ort.env.wasm.wasmPaths = new URL("./", self.location.href).href; // beside the page, from nowhere else
  ort.env.logLevel = "error";
  return ort;
});
const about = fetch("page.json").then((found) => found.json());
const models = new Map();
let last = Promise.resolve(); // one after the other: a session answers one question at a time

self.onmessage = ({ data: { id, ...question } }) => {
  last = last.then(() => answer(question)).then(
    (found) => self.postMessage({ id, ...found }),
    (error) => self.postMessage({ id, error: String(error?.message ?? error) }),
  );
};

/** {model: "student" | "teacher", image: Blob | ImageBitmap} or {model, texts: [one, two?]}; without a thing it loads and warms up. */
async function answer({ model: name, image, texts }) {
  const model = await loaded(name);
  if (!image && !texts) return {};
  const start = performance.now(), { feeds, pixels } = texts ? model.fromTexts(texts) : model.fromImage(await opened(image));
  const fed = performance.now(), probabilities = await model.run(feeds), done = performance.now();
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, SHOWN);
  return {
    best: order.map((i) => ({ label: model.classes[i], probability: probabilities[i] })),
    prepared: fed - start, took: done - fed, pixels, size: model.preprocessing.size,
  };
}

function loaded(name) {
  if (!models.has(name)) models.set(name, load(name).catch((error) => { models.delete(name); throw error; }));
  return models.get(name);
}

async function load(name) {
  const [ort, page] = await Promise.all([runtime, about]), model = page[name];
  const { preprocessing, classes, inputs, batch, temperature } = model, count = batch ?? 1;
  const session = await ort.InferenceSession.create(model.file, { executionProviders: device === "webgpu" ? ["webgpu", "wasm"] : ["wasm"] });
  const repeated = (array) => { // a graph with a frozen batch is given the same thing so often
    const found = new array.constructor(array.length * count);
    for (let i = 0; i < count; i++) found.set(array, i * array.length);
    return found;
  };

  async function run(feeds) {
    const outputs = await session.run(feeds), { data } = outputs[session.outputNames[0]];
    const given = Array.from(data.subarray(0, classes.length), Number);
    if (model.output === "probabilities") return given;
    const most = Math.max(...given), powers = given.map((x) => Math.exp((x - most) / (temperature ?? 1)));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((x) => x / sum);
  }

  function fromImage(rgb) {
    const { size } = preprocessing, pixels = toPixels(rgb, preprocessing, page.tall_first), [[input, type]] = inputs;
    if (type === "tensor(uint8)") return { feeds: { [input]: new ort.Tensor("uint8", repeated(pixels), [count, size, size, 3]) }, pixels };
    const floats = repeated(normalise(pixels, preprocessing)), shape = [count, 3, size, size];
    if (type !== "tensor(float16)") return { feeds: { [input]: new ort.Tensor("float32", floats, shape) }, pixels };
    if (!globalThis.Float16Array) throw new Error("this browser has no 16-bit floats; export the model as fp32");
    return { feeds: { [input]: new ort.Tensor("float16", Float16Array.from(floats), shape) }, pixels };
  }

  const encode = model.modality === "text" ? encoder(preprocessing) : null;
  const padding = encode ? Math.max(0, preprocessing.tokenizer.vocabulary.split("\n").indexOf(preprocessing.tokenizer.pad)) : 0;
  function fromTexts([one, two]) {
    const given = encode(one, preprocessing.pair ? (two ?? "") : undefined), feeds = {};
    for (const [input, type] of inputs) {
      const ids = [...given[input]], wide = type === "tensor(int64)";
      while (ids.length < (model.length ?? 1)) ids.push(input === "input_ids" ? padding : 0); // a frozen length, or a text of nothing
      const numbers = wide ? BigInt64Array.from(ids, BigInt) : Int32Array.from(ids);
      feeds[input] = new ort.Tensor(wide ? "int64" : "int32", repeated(numbers), [count, ids.length]);
    }
    return { feeds };
  }

  const made = { classes, preprocessing, run, fromImage, fromTexts };
  const { feeds } = encode ? fromTexts(["a", "a"]) : fromImage({ width: 1, height: 1, data: new Uint8Array(3) });
  await run(feeds); // the first run is slower, and no one's fault
  return made;
}

/** RGB of an image: PNG by our own decoder, others by the browser's, upright and on white. */
async function opened(image) {
  if (image instanceof ImageBitmap) return drawn(image);
  const bytes = new Uint8Array(await image.arrayBuffer());
  if (isPng(bytes)) {
    try {
      return await decodePng(bytes);
    } catch (error) {
      if (/million/.test(error.message)) throw error;
      // The browser's decoder forgives more.
    }
  }
  try {
    const orientation = webpOrientation(bytes), plain = orientation > 1 ? new Blob([bytes]) : image;
    return upright(drawn(await createImageBitmap(plain, { colorSpaceConversion: "none", imageOrientation: "from-image" })), orientation);
  } catch (error) {
    if (/million/.test(error.message)) throw error;
    throw new Error("this browser can't read it as an image; PNG and JPEG always work");
  }
}

/** What the EXIF of a WebP says, which is then hidden from the browser: some heed it, some don't. Of JPEG all do. */
function webpOrientation(bytes) {
  const view = new DataView(bytes.buffer), name = (at) => String.fromCharCode(...bytes.subarray(at, at + 4));
  if (name(0) !== "RIFF" || name(8) !== "WEBP") return 1;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const size = view.getUint32(at + 4, true), start = at + 8;
    if (name(at) === "EXIF") {
      bytes[at] = 0x58; // XXIF: a chunk that nobody knows
      return exifOrientation(bytes.subarray(start + (name(start) === "Exif" ? 6 : 0), start + size));
    }
    at = start + size + (size & 1);
  }
  return 1;
}

function drawn(bitmap) {
  const { width, height } = bitmap;
  if (width * height > LARGEST) throw tooLarge(width, height);
  const pen = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, width, height);
  pen.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = pen.getImageData(0, 0, width, height), rgb = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < data.length; from += 4, to += 3) {
    rgb[to] = data[from];
    rgb[to + 1] = data[from + 1];
    rgb[to + 2] = data[from + 2];
  }
  return { width, height, data: rgb };
}
