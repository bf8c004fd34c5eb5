// Colours of the page, and colour and dash of each configuration.

export const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];

/** Colour and dash of a configuration: colour by optimizer, dash by variant, another shade once all dashes are used. */
export function style(group, theme) {
  const colour = theme.colours[group.kind] ?? theme.others[group.variant % theme.others.length];
  const other = [null, theme.text, theme.background][Math.floor(group.variant / DASHES.length) % 3];
  return { colour: other ? mixed(colour, other, 0.4) : colour, dash: DASHES[group.variant % DASHES.length] };
}

/** A mixture of two colours, "#rrggbb", with the given share of the other. */
export function mixed(colour, other, share) {
  const part = (hex, i) => Number.parseInt(hex.slice(1 + 2 * i, 3 + 2 * i), 16);
  const value = (i) => Math.round((1 - share) * part(colour, i) + share * part(other, i));
  return `#${[0, 1, 2].map((i) => value(i).toString(16).padStart(2, "0")).join("")}`;
}

/** A colour with an opacity. */
export function faint(colour, alpha) {
  const value = Number.parseInt(colour.slice(1), 16);
  return `rgba(${value >> 16}, ${(value >> 8) & 255}, ${value & 255}, ${alpha})`;
}

/** The current colours of the page. */
export function themeOf(node, { colours, others }) {
  const css = getComputedStyle(node);
  const value = (name, other) => css.getPropertyValue(name).trim() || other;
  const background = value("--st-background-color", "#ffffff");
  const mode = luminance(background) < 0.4 ? "dark" : "light";
  return {
    colours: colours[mode],
    others: others[mode],
    text: value("--st-text-color", "#222222"),
    muted: mode === "dark" ? "#a3adbb" : "#5a6473",
    border: value("--st-border-color", "#cccccc"),
    grid: mode === "dark" ? "#262e3a" : "#e8ebf0",
    background,
    surface: value("--st-secondary-background-color", "#ffffff"),
    font: css.fontFamily,
  };
}

function luminance(colour) {
  const hex = /^#([0-9a-f]{6})/i.exec(colour)?.[1];
  if (!hex) return 1;
  const part = (i) => Number.parseInt(hex.slice(i, i + 2), 16) / 255;
  return 0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4);
}
