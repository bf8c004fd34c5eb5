// Colours of the page, and colour and dash of each configuration.

export const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];

/**
 * Colour and dash of a configuration. Each optimizer has its own colour, lightness and first dash, so that they differ
 * in grey. A swept number (`shade` from 0 to 1) goes from light to dark; other variants take the next dash, and another
 * shade once all dashes are used.
 */
export function style(group, theme) {
  const colour = theme.colours[group.kind] ?? theme.others[group.variant % theme.others.length];
  const first = theme.dashes?.[group.kind] ?? 0;
  const dash = DASHES[(first + (group.dash ?? group.variant)) % DASHES.length];
  if (group.shade != null) return { colour: ramp(colour, group.shade, theme), dash };
  const other = [null, theme.text, theme.background][Math.floor(group.variant / DASHES.length) % 3];
  return { colour: other ? mixed(colour, other, 0.4) : colour, dash };
}

/** A colour's shade from light (0) to dark (1); on a dark page from dark to light, so that larger values stand out. */
function ramp(colour, shade, theme) {
  return shade < 0.5 ? mixed(colour, theme.background, 0.9 * (0.5 - shade)) : mixed(colour, theme.text, 0.9 * (shade - 0.5));
}

/** A mixture of two colours, "#rrggbb", with the given share of the other. */
export function mixed(colour, other, share) {
  const part = (hex, i) => Number.parseInt(hex.slice(1 + 2 * i, 3 + 2 * i), 16);
  const value = (i) => Math.round((1 - share) * part(colour, i) + share * part(other, i));
  return `#${[0, 1, 2].map((i) => value(i).toString(16).padStart(2, "0")).join("")}`;
}

/** What a lecture shows larger: text of at least 20 px, and curves of at least 4 px. */
export const LECTURE = { scale: 5 / 3, line: 4 };

/** A size of text or a distance at the theme's scale [px]. */
export const sized = (theme, pixels) => pixels * (theme.scale ?? 1);

/** The width of a curve [px]. */
export const thick = (theme, width) => Math.max(width, theme.line ?? 0);

/** A colour with an opacity. */
export function faint(colour, alpha) {
  const value = Number.parseInt(colour.slice(1), 16);
  return `rgba(${value >> 16}, ${(value >> 8) & 255}, ${value & 255}, ${alpha})`;
}

/** The current colours of the page. */
export function themeOf(node, { colours, others, dashes }) {
  const css = getComputedStyle(node);
  const value = (name, other) => css.getPropertyValue(name).trim() || other;
  const background = value("--st-background-color", "#ffffff");
  const mode = luminance(background) < 0.4 ? "dark" : "light";
  return {
    colours: colours[mode],
    others: others[mode],
    dashes,
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
