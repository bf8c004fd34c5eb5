// Creation of elements. All elements are created here, so that text never enters the page as markup.

/** Create an element with attributes, `on...` listeners and children; strings become text. */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true && !name.startsWith("aria-")) node.setAttribute(name, "");
    else if ((value !== false || name.startsWith("aria-")) && value != null) node.setAttribute(name, String(value));
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

/** Write a text into a node, if it differs: a screen reader speaks, and the browser draws, only changes. */
export function put(node, text) {
  if (node && node.textContent !== text) node.textContent = text;
}

/** A control with a label. */
export function labelled(text, control) {
  return element("label", { class: "bhf-select" }, element("span", {}, text), control);
}

/** A table that scrolls sideways, also by keyboard. */
export function sheet(name, kind, head, body) {
  const table = element("table", { class: `bhf-table bhf-${kind}` }, element("thead", {}, head), body);
  return element("div", { class: "bhf-scroll", tabindex: 0, role: "region", "aria-label": name }, table);
}

/** A line sample and a name, for the start of a row. */
export function named({ colour, dash }, label) {
  return element("span", { class: "bhf-eye" }, swatch(colour, dash), element("span", {}, label));
}

/** A short sample of a line's colour and dash. */
export function swatch(colour, dash) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const line = document.createElementNS(space, "line");
  svg.setAttribute("class", "bhf-swatch");
  svg.setAttribute("viewBox", "0 0 28 8");
  svg.setAttribute("aria-hidden", "true");
  const shape = { x1: 1, x2: 27, y1: 4, y2: 4, stroke: colour, "stroke-width": 3, "stroke-dasharray": DASHES[dash] };
  for (const [name, value] of Object.entries(shape)) line.setAttribute(name, value);
  svg.append(line);
  return svg;
}

const DASHES = { solid: "none", dash: "7 4", dot: "2 3", dashdot: "8 3 2 3", longdash: "12 4", longdashdot: "12 3 2 3" };

/** Load a classic script once; resolves when it has run. */
export function script(url) {
  loads[url] ??= new Promise((resolve, reject) => {
    document.head.append(element("script", { src: url, onload: resolve, onerror: () => reject(new Error(url)) }));
  }).catch((error) => {
    delete loads[url]; // so that a later call tries again
    throw error;
  });
  return loads[url];
}

/** Load a style sheet once; resolves when it applies. */
export function styles(url) {
  loads[url] ??= new Promise((resolve) => {
    document.head.append(element("link", { rel: "stylesheet", href: url, onload: resolve, onerror: resolve }));
  });
  return loads[url];
}

const loads = {};
