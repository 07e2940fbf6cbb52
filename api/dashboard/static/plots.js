// Plots as SVG, out of bins that the server has made. What a plot shows is said in words, too, and stands in a table.

import { h, setAttribute, setText, svg } from "./dom.js";
import { number } from "./format.js";

const HEIGHT = 36;

/** The time of day, by the readers' clocks, at which a bin begins. */
export const timeAt = ({ begins_at, bin_s }, at) => new Date(Date.parse(`${begins_at}Z`) + at * bin_s * 1000).toISOString().slice(11, bin_s < 60 ? 19 : 16);

/** How long a bin is: 10 seconds, 2 minutes. */
export const lengthOf = ({ bin_s }) => (bin_s < 60 ? `${bin_s} seconds` : bin_s === 60 ? "a minute" : `${bin_s / 60} minutes`);

/** Returns {node, update(flow, point)}: how many came by a point, a step for each bin, before how many were expected. */
export function pointPlot() {
  const area = svg("path", { class: "area" });
  const due = svg("path", { class: "due" });
  const title = svg("title");
  const node = svg("svg", { class: "sparkline", role: "img", preserveAspectRatio: "none" }, title, due, area);
  let shown = null;
  const update = (flow, point) => {
    if (point === shown) return;
    shown = point;
    const expected = point.expected ?? [];
    const most = Math.max(0, ...point.counts, ...expected);
    setAttribute(node, "viewBox", `0 0 ${Math.max(1, point.counts.length)} ${HEIGHT}`);
    setAttribute(area, "d", steps(point.counts, most));
    setAttribute(due, "d", expected.length ? steps(expected, most) : "");
    setText(title, inWords(flow, point, Math.max(0, ...point.counts)));
  };
  return { node, update };
}

function inWords(flow, { name, counts, crossed, expected = [] }, most) {
  const due = Math.round(expected.reduce((sum, each) => sum + each, 0));
  const should = due ? `; ${number(due)} were expected by then, as others took from the point before` : "";
  if (most === 0) return `${name}: nobody yet${should}`;
  const [first, last] = [counts.findIndex(Boolean), counts.findLastIndex(Boolean)];
  const between = `from ${timeAt(flow, first)} to ${timeAt(flow, last + 1)}`;
  return `${name}: ${number(crossed)} came by ${between}, at most ${number(most)} in ${lengthOf(flow)}, from ${timeAt(flow, counts.indexOf(most))} on${should}`;
}

// Whoever comes alone is seen, too.
function steps(counts, most) {
  const heights = counts.map((count) => (count === 0 ? 0 : Math.max(1.5, (count / most) * (HEIGHT - 1))));
  return `M0 ${HEIGHT}${heights.map((height, at) => `V${(HEIGHT - height).toFixed(1)}H${at + 1}`).join("")}V${HEIGHT}Z`;
}

const WIDTH = 1000;
const TALL = 280;
// A line is told from another by its colour and by its dashes, of which these go with each colour in turn.
const LOOKS = 6;

/** Returns {node, update(flow, points)}: how many had come by each point at a time, all on one axis. */
export function sumPlot() {
  const drawing = svg("svg", { class: "sums", viewBox: `0 0 ${WIDTH} ${TALL}`, preserveAspectRatio: "none", role: "img" });
  const most = h("span", { class: "aside num" });
  const times = h("div", { class: "times num aside" });
  const legend = h("ul", { class: "legend" });
  const node = h("div", { class: "plot" }, h("div", { class: "plot-top" }, most), drawing, times, legend);
  const update = (flow, points) => {
    const all = Math.max(1, ...points.map(({ counts }) => sumsOf(counts).at(-1) ?? 0));
    const width = Math.max(1, points[0]?.counts.length ?? 1);
    setText(most, number(all));
    drawing.replaceChildren(
      svg("title", {}, `How many had come by: ${points.map(({ name, counts }) => `${name} ${number(sumsOf(counts).at(-1) ?? 0)}`).join(", ")}`),
      ...[0.25, 0.5, 0.75].map((share) => svg("path", { class: "grid", d: `M0 ${TALL * share}H${WIDTH}` })),
      ...points.map(({ counts }, at) => svg("path", { class: `line look-${at % LOOKS}`, d: climb(sumsOf(counts), width, all) })),
    );
    times.replaceChildren(...[0, 0.25, 0.5, 0.75, 1].map((share) => h("span", {}, timeAt(flow, share * width))));
    legend.replaceChildren(...points.map(({ name, counts }, at) => entry(name, sumsOf(counts).at(-1) ?? 0, at)));
  };
  return { node, update };
}

function climb(sums, width, all) {
  const y = (sum) => (TALL - 1 - (sum / all) * (TALL - 3)).toFixed(1);
  return `M0 ${y(0)}${sums.map((sum, at) => `L${(((at + 1) / width) * WIDTH).toFixed(1)} ${y(sum)}`).join("")}`;
}

function entry(name, sum, at) {
  const sample = svg("svg", { class: "sample", viewBox: "0 0 40 10", "aria-hidden": "true" }, svg("path", { class: `line look-${at % LOOKS}`, d: "M0 5H40" }));
  return h("li", {}, sample, h("span", {}, `${name} `), h("span", { class: "num strong" }, number(sum)));
}

/** How many there were in all bins up to each. */
export function sumsOf(counts) {
  let sum = 0;
  return counts.map((count) => (sum += count));
}

const LINES = 24;

/** Returns {node, update(flow, points)}: the same in numbers, in a few lines, each with how many had come by until then. */
export function sumTable() {
  const head = h("thead");
  const body = h("tbody");
  const caption = h("caption", {}, "How many had come by each point, by the readers' time");
  const table = h("div", { class: "scrolls", tabindex: "0", role: "group", "aria-label": "Numbers of the plots, a box that scrolls" }, h("table", { class: "num" }, caption, head, body));
  const node = h("details", {}, h("summary", {}, "The same in numbers"), table);
  const update = (flow, points) => {
    const width = points[0]?.counts.length ?? 0;
    const every = Math.max(1, Math.ceil(width / LINES));
    const ends = Array.from({ length: Math.ceil(width / every) }, (_, line) => Math.min(width, (line + 1) * every));
    const sums = points.map(({ counts }) => sumsOf(counts));
    head.replaceChildren(h("tr", {}, ["Until", ...points.map(({ name }) => name)].map((title) => h("th", { scope: "col" }, title))));
    body.replaceChildren(...ends.map((end) => h("tr", {}, h("th", { scope: "row" }, timeAt(flow, end)), sums.map((each) => h("td", {}, number(each[end - 1]))))));
  };
  return { node, update };
}
