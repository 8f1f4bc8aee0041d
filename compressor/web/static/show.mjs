// How answers look. Names of classes and files are text from elsewhere: they are set as text, never as HTML.

const KEPT = 60; // cards

/** Never 0 or 100 %: no softmax is that sure. */
export function percent(share) {
  if (share > 0.9999) return "> 99.99 %";
  if (share < 0.0001) return "< 0.01 %";
  return `${(100 * share).toFixed(share > 0.9995 || share < 0.0995 ? 2 : 1)} %`;
}
export const megabytes = (bytes) => (bytes < 1e5 ? `${(bytes / 1e3).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`);
const milliseconds = (time) => `${time.toFixed(time < 10 ? 1 : 0)} ms`;

/** An element with attributes or properties, and what is in it: texts and elements. */
export function element(tag, properties = {}, ...inside) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...inside.filter((part) => part !== null));
  return made;
}

/** A card for a thing, on top of the others; answers are filled in as they come. */
export function card(list, { name, image, texts, truth }) {
  const body = element("div"), seen = element("div", { className: "pictures" });
  const made = element("li", { className: `card${texts ? " text" : ""}` });
  if (image) {
    const url = URL.createObjectURL(image), picture = element("img", { src: url, alt: "" });
    picture.onload = () => picture.classList.toggle("tiny", picture.naturalWidth < 96);
    picture.onerror = () => picture.remove(); // such as a TIFF
    made.forget = () => URL.revokeObjectURL(url);
    seen.append(picture);
    made.append(seen);
  }
  made.append(body);
  for (const text of texts ?? []) body.append(element("blockquote", {}, text));
  const heading = element("h3", {}, "…"), right = element("p", {}), teacher = element("p", { className: "teacher" });
  body.append(heading, right);
  if (name) body.append(element("p", { className: "muted small" }, name));
  list.prepend(made);
  if (made.getBoundingClientRect().top > innerHeight - 80) made.scrollIntoView({ block: "center" }); // a phone shows the input alone
  while (list.children.length > KEPT) drop(list.lastElementChild);

  return {
    answer({ best, took, prepared, pixels, size }) {
      heading.replaceChildren(best[0].label, element("span", {}, percent(best[0].probability)));
      if (truth !== undefined) right.append(verdict(best[0].label === truth, "right", `wrong: it is ${truth}`));
      body.append(bars(best), teacher,
        element("p", { className: "muted small" }, `${milliseconds(took)} to answer, ${milliseconds(prepared)} to prepare`));
      if (pixels) seen.append(sight(pixels, size), element("span", {}, "what it sees"));
    },
    wait() { teacher.replaceChildren("Asking the teacher…"); },
    teacher(own, { best: [{ label, probability }], took }) {
      const same = label === own.best[0].label;
      teacher.replaceChildren(`Teacher: ${label}, ${percent(probability)}, ${milliseconds(took)} · `,
        verdict(same, "agrees", "differs"));
      return same;
    },
    teacherFails(reason) { teacher.replaceChildren(element("span", { className: "error" }, `The teacher can't answer: ${reason}`)); },
    fails(reason) { heading.replaceWith(element("p", { className: "error" }, reason)); },
  };
}

export function drop(made) {
  made.forget?.();
  made.remove();
}

const verdict = (good, yes, no) => element("span", { className: good ? "agrees" : "differs" }, good ? yes : no);

function bars(best) {
  return element("ol", { className: "bars" }, ...best.map(({ label, probability }) => {
    const fill = element("i");
    fill.style.width = `${100 * probability}%`;
    return element("li", {}, fill, element("span", {}, label), element("data", { value: probability }, percent(probability)));
  }));
}

/** What the model was given, after resizing and cropping. */
function sight(pixels, size) {
  const canvas = element("canvas", { width: size, height: size, title: `What the model sees: ${size} × ${size} pixels` });
  const image = new ImageData(size, size);
  for (let i = 0; i < size * size; i++) image.data.set([pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2], 255], 4 * i);
  canvas.getContext("2d").putImageData(image, 0, 0);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", canvas.title);
  return canvas;
}
