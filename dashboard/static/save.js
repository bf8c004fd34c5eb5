// Saving what is shown: the chart as PNG or SVG, the view as one HTML file that needs nothing else.

import { plain } from "./draw.js";

/** Offer text or a data URL as a file. */
function download(href, name) {
  const link = document.createElement("a");
  link.href = href;
  link.download = name;
  link.click();
}

function complete({ traces, layout }, theme) {
  return {
    data: traces,
    layout: {
      ...layout,
      paper_bgcolor: theme.background,
      plot_bgcolor: theme.background,
      showlegend: true,
      legend: { orientation: "h", y: -0.08, yanchor: "top", font: { size: 14 } },
      height: layout.height + 50,
      margin: { l: 12, r: 12, t: 12, b: 50 },
    },
  };
}

/** Save the charts as a picture, three times as fine as the screen for PNG. */
export async function savePicture(figure, theme, format) {
  const whole = complete(figure, theme);
  const { width, height } = whole.layout;
  const url = await window.Plotly.toImage(whole, { format, width, height, scale: format === "png" ? 3 : 1 });
  download(url, `comparison.${format}`);
}

/** Save the charts as a page that works without BlockHF and without a network. */
export async function savePage(figure, theme, title) {
  const source = await (await fetch("/plotly.min.js")).text();
  const whole = JSON.stringify(complete(figure, theme)).replaceAll("<", "\\u003c");
  const page = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${plain(title)}</title></head>
<body style="margin:0;background:${theme.background}"><div id="chart"></div>
<script>${source.replaceAll("</script", "<\\/script")}</script>
<script>const whole = ${whole}; Plotly.newPlot("chart", whole.data, whole.layout);</script></body></html>`;
  const url = URL.createObjectURL(new Blob([page], { type: "text/html" }));
  download(url, "comparison.html");
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
