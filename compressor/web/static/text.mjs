// What `compress predict` does with a text, in JavaScript: node text.mjs model.onnx "a text" ["the second of a pair"]
// Needs Node 20, and onnxruntime-node for the answer. WordPiece only.
// Unicode: marks, punctuation and controls are this Node's, newer than the Unicode 8 that the Python side keeps to.
// The page of `compress try` takes `encoder` from here: nothing of Node is asked for before `main`.

// An ONNX file is a protobuf message; field 14 holds its key–value pairs.
function* fields(bytes, at, end) {
  const varint = () => { let v = 0, f = 1, b; do { b = bytes[at++]; v += (b & 127) * f; f *= 128; } while (b > 127); return v; };
  while (at < end) {
    const key = varint();
    if (key % 8 === 2) { const size = varint(); yield [Math.floor(key / 8), at, at + size]; at += size; }
    else if (key % 8 === 0) varint();
    else at += key % 8 === 1 ? 8 : 4;
  }
}

export function about(bytes) {
  for (const [number, start, end] of fields(bytes, 0, bytes.length)) {
    if (number !== 14) continue;
    const pair = {};
    for (const [n, a, b] of fields(bytes, start, end)) pair[n] = new TextDecoder().decode(bytes.subarray(a, b));
    if (pair[1] === "compressor") return JSON.parse(pair[2]);
  }
  throw new Error("no compressor metadata");
}

const HAN = /[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu;
const GAP = /[\t\n\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/u;
const CONTROL = /[\p{Cc}\p{Cf}\p{Co}\ufffd]/gu;
const WORD = /[\p{P}!-\/:-@\[-`{-~]|[^\p{P}!-\/:-@\[-`{-~ ]+/gu;

export function tokenizer(t) {
  if (t.kind !== "wordpiece") throw new Error(`a tokenizer of the kind ${t.kind}`);
  const ids = new Map(t.vocabulary.split("\n").map((token, id) => [token, id]));
  const strip = t.strip_accents ?? t.lowercase;
  const special = Object.keys(t.special).sort((a, b) => b.length - a.length);
  const split = special.length ? new RegExp(`(${special.map((s) => s.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|")})`, "u") : null;

  function pieces(word) {
    const letters = [...word], found = [];
    if (letters.length > 100) return [ids.get(t.unknown)];
    for (let start = 0, end; start < letters.length; start = end) {
      let id;
      for (end = letters.length; end > start; end--) {
        id = ids.get((start ? "##" : "") + letters.slice(start, end).join(""));
        if (id !== undefined) break;
      }
      if (id === undefined) return [ids.get(t.unknown)];
      found.push(id);
    }
    return found;
  }

  function plain(text) {
    const found = [];
    for (let chunk of text.split(GAP)) {
      chunk = chunk.replace(CONTROL, "");
      if (t.split_chinese) chunk = chunk.replace(HAN, " $& ");
      if (strip) chunk = chunk.normalize("NFD").replace(/\p{Mn}/gu, "");
      if (t.lowercase) chunk = Array.from(chunk, (letter) => letter.toLowerCase()).join("");
      for (const [word] of chunk.matchAll(WORD)) found.push(...pieces(word));
    }
    return found;
  }

  const encode = (text) => (split ? text.toWellFormed().split(split) : [text.toWellFormed()])
    .flatMap((part, i) => (i % 2 ? [t.special[part]] : plain(part)));
  return { encode, id: (token) => ids.get(token) };
}

// The tokens of a text or a pair, framed and cut; the longer of a pair gives way first.
export function encoder(preprocessing) {
  const t = preprocessing.tokenizer, own = tokenizer(t), framed = preprocessing.frame === "bert";
  const first = framed ? [own.id(t.first)] : [], last = framed ? [own.id(t.last)] : [];
  return (one, two) => {
    let a = own.encode(one), b = two === undefined ? [] : own.encode(two);
    const room = preprocessing.max_length - (framed ? (two === undefined ? 2 : 3) : 0);
    if (two === undefined) a = a.slice(0, room);
    else if (a.length + b.length > room) {
      const short = Math.min(a.length, b.length, Math.floor(room / 2)), more = a.length > b.length;
      [a, b] = [a.slice(0, more ? room - short : short), b.slice(0, more ? short : room - short)];
    }
    const head = [...first, ...a, ...last], ids = two === undefined ? head : [...head, ...b, ...last];
    return { input_ids: ids, attention_mask: ids.map(() => 1), token_type_ids: ids.map((_, i) => Number(i >= head.length)) };
  };
}

async function main(path, one, two) {
  const { default: ort } = await import("onnxruntime-node"), { default: fs } = await import("node:fs");
  const { preprocessing, classes, temperature, output } = about(fs.readFileSync(path));
  const session = await ort.InferenceSession.create(path), given = encoder(preprocessing)(one, two), feeds = {};
  for (const name of session.inputNames) {
    const numbers = BigInt64Array.from(given[name], BigInt);
    feeds[name] = new ort.Tensor("int64", numbers, [1, numbers.length]);
  }
  const scores = Array.from((await session.run(feeds))[session.outputNames[0]].data, Number), most = Math.max(...scores);
  const powers = scores.map((x) => Math.exp((x - most) / (temperature ?? 1))), sum = powers.reduce((x, y) => x + y, 0);
  const best = scores.indexOf(most);
  console.log(classes[best], (output === "probabilities" ? most : powers[best] / sum).toFixed(3));
}

if (globalThis.process?.argv?.[1]) {
  const { pathToFileURL } = await import("node:url");
  if (import.meta.url === pathToFileURL(process.argv[1]).href) await main(...process.argv.slice(2));
}
