// Export: the charts as PNG or SVG, the page as one self-contained HTML file.

import { plain } from "../store/measures.js";

/** Offer text or a data URL as a file. */
function download(href, name) {
  const link = document.createElement("a");
  link.href = href;
  link.download = name;
  link.click();
}

/** Widths of a saved picture [px]: as on the screen, on a slide, in a paper's column. */
export const SIZES = { screen: null, slide: 1280, column: 480 };

/** A title as the name of a file: "Damping sweep" as "damping-sweep". */
export function fileName(title) {
  return title.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-").replaceAll(/^-+|-+$/g, "").slice(0, 60) || "comparison";
}

/** The figure with title and legend: entries in the page's order, in columns as wide as the longest name. */
export function complete({ traces, layout }, theme, title) {
  const width = layout.width ?? 1280;
  const names = traces.filter(({ showlegend, name }) => showlegend && name).map(({ name }) => name);
  const entry = Math.min(width - 40, 44 + 7.4 * Math.max(0, ...names.map((name) => name.length)));
  const lines = Math.ceil(names.length / Math.max(1, Math.floor((width - 24) / entry)));
  const [top, bottom] = [title ? 44 : 12, 30 + 22 * lines];
  return {
    data: traces,
    layout: {
      ...layout,
      title: title ? { text: plain(title), x: 0.01, y: 1, yref: "container", yanchor: "top", pad: { t: 14 }, font: { size: 18 } } : undefined,
      paper_bgcolor: theme.background,
      plot_bgcolor: theme.background,
      showlegend: true,
      legend: {
        orientation: "h", x: 0, y: 0, yref: "container", yanchor: "bottom", traceorder: "normal", font: { size: 13 },
        entrywidth: entry, entrywidthmode: "pixels", itemsizing: "trace",
      },
      height: layout.height + top + bottom,
      margin: { l: 12, r: 12, t: top, b: bottom },
    },
  };
}

/** Save the charts as a picture; PNG has three times the screen's resolution. */
export async function savePicture(figure, theme, format, title) {
  const whole = complete(figure, theme, title);
  const { width, height } = whole.layout;
  const url = await window.Plotly.toImage(whole, { format, width, height, scale: format === "png" ? 3 : 1 });
  download(url, `${fileName(title)}.${format}`);
}

/** Save charts and tables as a page that works without BlockHF and without a network. */
export async function savePage(figure, theme, { title, note, tables }) {
  const source = await (await fetch("/plotly.min.js")).text();
  const whole = JSON.stringify(complete(figure, theme)).replaceAll("<", "\\u003c");
  const page = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${plain(title)}</title><style>
body { margin: 0 auto; padding: 1rem; max-width: 2000px; background: ${theme.background}; color: ${theme.text}; font: 15px/1.45 sans-serif; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } th, td { border-bottom: 1px solid ${theme.border}; padding: 5px 12px; text-align: left; }
h2 { font-size: 1.1rem; margin: 1.6rem 0 0.5rem; } section { overflow-x: auto; }
</style></head>
<body><h1>${plain(title)}</h1><div id="chart"></div><p>${plain(note)}</p>
${tables.map(written).join("\n")}
<script>${source.replaceAll("</script", "<\\/script")}</script>
<script>const whole = ${whole}; Plotly.newPlot("chart", whole.data, whole.layout);</script></body></html>`;
  const url = URL.createObjectURL(new Blob([page], { type: "text/html" }));
  download(url, `${fileName(title)}.html`);
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** The tables of a page as text: title and rows of cells, without buttons. */
export function tablesOf(root) {
  const shown = [...root.querySelectorAll('[role="region"] table')].filter((table) => !table.closest("[hidden]"));
  return shown.map((table) => ({
    title: table.closest('[role="region"]').getAttribute("aria-label"),
    rows: [...table.rows].map((row) => [...row.cells].filter((cell) => !cell.matches(".bhf-actions, :has(.bhf-hidden)")).map(textOf)),
  }));
}

/** A cell's text with spaces between its parts; a header cell's full name. */
function textOf(cell) {
  const named = cell.querySelector("button[aria-label]");
  if (cell.tagName === "TH" && named) return named.getAttribute("aria-label");
  const parts = [];
  const walk = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) parts.push(walk.currentNode.data.trim());
  return parts.filter(Boolean).join(" ");
}

function written({ title, rows: [head, ...rows] }) {
  const line = (tag) => (cells) => `<tr>${cells.map((text) => `<${tag}>${plain(text)}</${tag}>`).join("")}</tr>`;
  return `<section><h2>${plain(title)}</h2><table><thead>${line("th")(head ?? [])}</thead><tbody>${rows.map(line("td")).join("")}</tbody></table></section>`;
}
