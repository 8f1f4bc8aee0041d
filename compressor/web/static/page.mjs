// The page: takes images, camera pictures or texts, asks the worker, shows its answers.
import { card, drop, element, megabytes, percent } from "./show.mjs";

const find = (selector) => document.querySelector(selector);
const status = (text) => { find("#status").textContent = text; };

const page = await fetch("page.json").then((found) => found.json());
const { student, teacher } = page;
const LIGHT = page.offline ? 10e6 : 200e6; // bytes of a teacher that is asked without being told to: a phone pays for them
let worker, asked = 0;
const waiting = new Map();

function begin(device) {
  worker?.terminate();
  for (const { reject } of waiting.values()) reject(new Error("another device was chosen meanwhile"));
  waiting.clear();
  worker = new Worker(`worker.mjs?device=${device}`, { type: "module" });
  worker.onmessage = ({ data: { id, error, ...found } }) => {
    const { resolve, reject } = waiting.get(id) ?? {};
    waiting.delete(id);
    if (error) reject?.(new Error(error)); else resolve?.(found);
  };
  worker.onerror = (event) => {
    for (const { reject } of waiting.values()) reject(new Error(event.message || "the model's program can't be loaded"));
    waiting.clear();
  };
  status(`Loading the model (${megabytes(student.bytes)}) and what runs it (${device === "webgpu" ? 27 : 14} MB)…`);
  ask({ model: "student" }).then(
    () => { if (/^Loading/.test(find("#status").textContent)) status("Ready."); document.body.dataset.ready = device; },
    (error) => status(`The model can't be loaded: ${error.message}`),
  );
}

const ask = (question, moved = []) => new Promise((resolve, reject) => {
  waiting.set(++asked, { resolve, reject });
  worker.postMessage({ id: asked, ...question }, moved);
});

const teacherAsked = () => !find("#ask").hidden && find("#ask input").checked;

/** Asks student and teacher about one thing, and shows it. */
async function classify({ name, image, texts, truth }) {
  const shown = card(find("#answers"), { name, image, texts, truth }), thing = texts ? { texts } : { image };
  find("#clear").hidden = false;
  const called = name ?? "The text";
  try {
    const own = await ask({ model: "student", ...thing });
    const said = `${called}: ${own.best[0].label}, ${percent(own.best[0].probability)}.`;
    status(said);
    shown.answer(own);
    if (!teacherAsked()) return;
    shown.wait();
    try {
      const same = shown.teacher(own, await ask({ model: "teacher", ...thing }));
      status(`${said} The teacher ${same ? "agrees" : "differs"}.`);
    } catch (error) {
      shown.teacherFails(error.message);
    }
  } catch (error) {
    shown.fails(error.message);
    status(`${called}: ${error.message}`);
  }
}

async function classifyAll(files) {
  for (const file of files) await classify({ name: file.name || "pasted image", image: file });
}

function describe() {
  document.title = `${page.title} · compressor`;
  find("#title").textContent = page.title;
  const count = student.classes.length, things = student.modality === "text" ? "texts" : "images";
  find("#about").textContent = [
    student.name, student.precision, megabytes(student.bytes), `${count} labels`,
    student.top1 === null ? null : `right on ${(100 * student.top1).toFixed(1)} % of its test ${things}`,
  ].filter(Boolean).join(" · ");
  const calibrated = student.temperature === null ? "Its percentages are not calibrated."
    : `Its percentages are calibrated: of its answers at 80 %, about 80 % should be right on ${things} like those it learnt from.`;
  find("#honest").textContent = `It answers with one of its ${count} labels whatever it is shown, even where none fits. ${calibrated}`;
  const links = find("#links");
  if (page.report) links.append(element("a", { href: page.report }, "How it was made and measured"), " · ");
  links.append(element("a", { href: student.file, download: `${page.title}.onnx` }, "The model (ONNX)"),
    ` · onnxruntime-web ${page.runtime} · made with compressor`);
}

function offerImages() {
  find("#images").hidden = false;
  const zone = find("#drop"), file = find("#file");
  file.onchange = () => { classifyAll([...file.files]); file.value = ""; };
  for (const kind of ["dragover", "dragenter"]) document.addEventListener(kind, (event) => { event.preventDefault(); zone.classList.add("over"); });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) zone.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    classifyAll([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (files.length) classifyAll(files); else status("There is no image in the clipboard.");
  });
  if (navigator.mediaDevices?.getUserMedia) {
    find("#camera").hidden = false;
    find("#camera").onclick = () => film().catch((error) => status(`The camera can't be used: ${error.message}`));
  }
  for (const { file: source, label } of page.examples) {
    const button = element("button", { type: "button" }, element("img", { src: source, alt: `Test image: ${label}`, loading: "lazy" }));
    button.onclick = async () => classify({ name: "test image", image: await fetch(source).then((found) => found.blob()), truth: label });
    find("#examples ul").append(element("li", {}, button));
    find("#examples").hidden = false;
  }
}

/** Shows what the student says of the camera's picture as it changes; a picture is kept as a card on wish. */
async function film() {
  const live = find("#live"), video = find("#live video"), seen = find("#live .seen");
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  video.srcObject = stream;
  await video.play();
  live.hidden = false;
  find("#camera").hidden = true;
  find("#keep").focus();
  let on = true;
  find("#stop").onclick = () => {
    on = false;
    stream.getTracks().forEach((track) => track.stop());
    live.hidden = true;
    find("#camera").hidden = false;
    find("#camera").focus();
  };
  find("#keep").onclick = async () => {
    const canvas = element("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((image) => classify({ name: "camera", image }));
  };
  while (on) {
    try {
      const image = await createImageBitmap(video), { best: [first] } = await ask({ model: "student", image }, [image]);
      seen.textContent = `${first.label}  ${percent(first.probability)}`;
    } catch (error) {
      seen.textContent = error.message;
    }
    await new Promise((next) => setTimeout(next, 80));
  }
}

function offerTexts() {
  const form = find("#texts"), one = find("#one"), two = find("#two");
  form.hidden = false;
  find("#pair").hidden = !student.preprocessing.pair;
  form.onsubmit = (event) => {
    event.preventDefault();
    if (!one.value.trim()) { one.focus(); return; }
    classify({ texts: student.preprocessing.pair ? [one.value, two.value] : [one.value] });
  };
  form.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit(); });
}

describe();
if (student.modality === "text") offerTexts(); else offerImages();
if (teacher) {
  find("#ask").hidden = false;
  find("#ask input").checked = teacher.bytes <= LIGHT;
  find("#ask span").textContent = `Ask the teacher, too (${teacher.name}, ${megabytes(teacher.bytes)})`;
}
find("#clear").onclick = () => {
  [...find("#answers").children].forEach(drop);
  find("#clear").hidden = true;
  status("Ready.");
};
begin("wasm");
if (page.offline) navigator.serviceWorker?.register("offline.js").catch(() => {}); // where there is no https it goes without
if (page.webgpu && await navigator.gpu?.requestAdapter().catch(() => null)) {
  find("#device").hidden = false;
  find("#device select").onchange = (event) => begin(event.target.value);
}
