// Table headers that sort: ascending at the first press, descending at the next. The order is "key" or "-key".

import { element } from "../dom.js";

/** Fill a table's header; a column without a key does not sort. The focused button keeps the focus. */
export function sortableHeader(row, columns, sort, choose) {
  const signature = JSON.stringify(columns.map(({ key, title }) => [key, title]));
  row.sorted = sort;
  if (row.dataset.signature !== signature) {
    row.dataset.signature = signature;
    row.replaceChildren(...columns.map((column) => head(row, column, choose)));
  }
  columns.forEach(({ key }, i) => {
    if (key) row.children[i].setAttribute("aria-sort", sort === key ? "ascending" : sort === `-${key}` ? "descending" : "none");
  });
}

function head(row, { key, title, sub, hidden }, choose) {
  if (!key) return element("th", { scope: "col" }, hidden ? element("span", { class: "bhf-hidden" }, title) : title);
  const press = () => choose(row.sorted === key ? `-${key}` : key);
  const button = element("button", { type: "button", onclick: press, title: `Sort by ${sub ?? title}`, "aria-label": sub ?? title }, title);
  return element("th", { scope: "col", class: `bhf-${key}` }, button);
}

/** Rows sorted by `value(row, key)`; missing values come last in both directions. */
export function inOrder(rows, sort, value) {
  if (!sort) return rows;
  const [key, sign] = sort.startsWith("-") ? [sort.slice(1), -1] : [sort, 1];
  return [...rows].sort((a, b) => sign * compare(value(a, key), value(b, key), sign));
}

function compare(a, b, sign) {
  if (a == null || b == null) return ((a == null) - (b == null)) * sign;
  return a < b ? -1 : Number(a > b);
}
