// Lines over time as SVG, out of bins that the server has made, with the same in numbers for who does not see them.

import { h, setText, svg } from "./dom.js";
import { minuteAt } from "./format.js";

const WIDTH = 1000;
const TALL = 240;
// Told apart by colour and dashes; more than these are thin, and stand in the table by name.
const LOOKS = 6;
const TABLE_LINES = 24;

/**
 * Returns {node, update(axis, lines)}. axis: {begins_at, bin_s}; a line: {name, values, said}, its values null where
 * nothing is known. words(lines): the plot for who does not see it. extent(values): what is at the bottom and at the top;
 * place(value, extent): where a value lies, 0 at the bottom and 1 at the top; grid: values with a line of their own;
 * text(value): how one reads; within(values): the one of several bins that a line of the table shows.
 */
export function linePlot({ caption, words, extent, place, grid, text, within }) {
  const drawing = svg("svg", { class: "sums", viewBox: `0 0 ${WIDTH} ${TALL}`, preserveAspectRatio: "none", role: "img" });
  const [top, bottom] = [h("span", { class: "aside num" }), h("span", { class: "aside num" })];
  const times = h("div", { class: "times num aside" });
  const legend = h("ul", { class: "legend" });
  const plot = h("div", { class: "plot" }, h("div", { class: "plot-top" }, top), drawing, h("div", { class: "plot-top" }, bottom), times, legend);
  const table = numbers(caption, text, within);
  const node = h("div", {}, plot, table.node);
  const update = (axis, lines) => {
    const width = lines[0].values.length;
    const [low, high] = extent(lines.flatMap(({ values }) => values.filter((value) => value !== null)));
    const y = (value) => (TALL - 2 - place(value, [low, high]) * (TALL - 4)).toFixed(1);
    setText(top, text(high));
    setText(bottom, text(low));
    drawing.replaceChildren(
      svg("title", {}, words(lines)),
      ...grid.filter((value) => value > low && value < high).map((value) => svg("path", { class: "grid", d: `M0 ${y(value)}H${WIDTH}` })),
      ...lines.map(({ values }, at) => svg("path", { class: look(at), d: path(values, width, y) })).reverse(),
    );
    times.replaceChildren(...[0, 0.25, 0.5, 0.75, 1].map((share) => h("span", {}, minuteAt(endOf(axis, Math.round(share * width) - 1)))));
    legend.replaceChildren(...lines.slice(0, LOOKS).map(entry), ...(lines.length > LOOKS ? [h("li", {}, `${lines.length - LOOKS} more, thin: in the table below`)] : []));
    table.update(axis, lines);
  };
  return { node, update };
}

const look = (at) => (at < LOOKS ? `line look-${at}` : "line thin");

const endOf = ({ begins_at, bin_s }, bin) => Date.parse(begins_at) + (bin + 1) * bin_s * 1000;

// A value stands for its whole bin; where nothing is known there is no line.
function path(values, width, y) {
  let drawn = false;
  return values
    .map((value, at) => {
      const began = drawn;
      drawn = value !== null;
      if (!drawn) return "";
      const [from, to] = [at, at + 1].map((bin) => ((bin / width) * WIDTH).toFixed(1));
      return `${began ? "L" : "M"}${from} ${y(value)}H${to}`;
    })
    .join("");
}

function entry({ name, said }, at) {
  const sample = svg("svg", { class: "sample", viewBox: "0 0 40 10", "aria-hidden": "true" }, svg("path", { class: look(at), d: "M0 5H40" }));
  return h("li", {}, sample, h("span", {}, `${name} `), h("span", { class: "num strong" }, said));
}

function numbers(title, text, within) {
  const [head, body] = [h("thead"), h("tbody")];
  const table = h("table", { class: "num" }, h("caption", {}, title), head, body);
  const box = h("div", { class: "scrolls", tabindex: "0", role: "group", "aria-label": "Numbers of the plot, a box that scrolls" }, table);
  const node = h("details", {}, h("summary", {}, "The same in numbers"), box);
  const update = (axis, lines) => {
    const width = lines[0].values.length;
    const every = Math.max(1, Math.ceil(width / TABLE_LINES));
    const ends = Array.from({ length: Math.ceil(width / every) }, (_, line) => Math.min(width, (line + 1) * every));
    const cell = (values, end) => within(values.slice(Math.max(0, end - every), end).filter((value) => value !== null));
    head.replaceChildren(h("tr", {}, ["Until", ...lines.map(({ name }) => name)].map((name) => h("th", { scope: "col" }, name))));
    body.replaceChildren(
      ...ends.map((end) =>
        h("tr", {}, h("th", { scope: "row" }, minuteAt(endOf(axis, end - 1))), lines.map(({ values }) => h("td", {}, said(text, cell(values, end))))),
      ),
    );
  };
  return { node, update };
}

const said = (text, value) => (value === undefined ? "–" : text(value));
