// A table that becomes a list of small cards where the screen is narrow. Its roles are a table's wherever it is shown.

import { h, setText } from "./dom.js";
import { keyedInPieces } from "./pieces.js";

/**
 * Returns {node, update(items)}; of many items the last rows come a moment later. A column is {title, kind, text(item)} or {title, kind, part(item)}, where part
 * returns {node, update(item)}, update being optional; kind is a class of its cells.
 */
export function rows(columns, { label, key, kind = "" }) {
  const heads = columns.map(({ title, kind: of = "" }) =>
    h("span", { class: `cell ${of}`, role: "columnheader" }, title),
  );
  const body = h("div", { class: "body", role: "rowgroup" });
  const node = h(
    "div",
    { class: `rows ${kind}`, role: "table", "aria-label": label },
    h("div", { class: "heads", role: "rowgroup" }, h("div", { class: "row", role: "row" }, heads)),
    body,
  );
  return { node, update: keyedInPieces(body, { key, make: (item) => row(columns, item) }) };
}

function row(columns, item) {
  const cells = columns.map((column) => cell(column, item));
  const node = h(
    "div",
    { class: "row", role: "row" },
    cells.map((each) => each.node),
  );
  return { node, update: (next) => cells.forEach((each) => each.update(next)) };
}

function cell({ title, kind = "", text, part }, item) {
  const node = h("span", { class: `cell ${kind}`, role: "cell", "data-title": title });
  if (text) return { node, update: (next) => setText(node, text(next)) };
  const made = part(item);
  node.append(made.node);
  return { node, update: (next) => made.update?.(next) };
}
