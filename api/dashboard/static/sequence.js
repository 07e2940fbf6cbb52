// A map of the numbers of the current epoch: there, missing, in conflict; and how often some were sent again, which nobody
// keeps by number.

import { h, setAttribute, setText, svg } from "./dom.js";
import { number } from "./format.js";
import { fresh } from "./fresh.js";
import { askAgain, path } from "./http.js";
import { onEvent } from "./state.js";

const EVERY_MS = 10000;
const TALL = 40;
// Conflicts stand above the numbers, so that they are seen whatever lies below.
const ABOVE = 10;
const LISTED = 50;

/** Returns {node, update(), close()}. */
export function sequenceMap(stream_id) {
  const title = svg("title");
  const parts = Object.fromEntries(["there", "missing", "unknown", "aside"].map((kind) => [kind, svg("path", { class: kind })]));
  const drawing = svg("svg", { class: "sequence", role: "img", preserveAspectRatio: "none" }, title, Object.values(parts));
  const ends = [h("span"), h("span")];
  const said = h("p", { class: "hint" });
  const body = h("tbody");
  const table = h(
    "div",
    { class: "scrolls", tabindex: "0", role: "group", "aria-label": "Numbers of the map, a box that scrolls" },
    h(
      "table",
      { class: "num" },
      h("caption", {}, "Where numbers are missing or in conflict"),
      h("thead", {}, h("tr", {}, ["Numbers", "Missing", "In conflict"].map((head) => h("th", { scope: "col" }, head)))),
      body,
    ),
  );
  const numbers = h("details", {}, h("summary", {}, "The same in numbers"), table);
  const map = fresh(load, { everyMs: EVERY_MS });
  const node = h("div", { class: "plot", hidden: true }, map.said, drawing, h("div", { class: "times num aside" }, ends), said, numbers);
  let known;

  async function load() {
    const before = known;
    known = await askAgain(path(["streams", stream_id, "sequence"]), known);
    if (known !== before) show(known.json);
  }

  function show(found) {
    node.hidden = found.last === 0;
    if (node.hidden) return;
    setAttribute(drawing, "viewBox", `0 0 ${found.missing.length} ${ABOVE + TALL}`);
    for (const [kind, d] of Object.entries(drawn(found))) setAttribute(parts[kind], "d", d);
    setText(title, inWords(found));
    setText(ends[0], "1");
    setText(ends[1], number(found.last));
    setText(said, legend(found));
    const odd = found.missing.map((_, at) => at).filter((at) => found.missing[at] || found.conflicts[at]);
    numbers.hidden = odd.length === 0;
    body.replaceChildren(...odd.slice(0, LISTED).map((at) => line(found, at)));
  }

  const close = onEvent((event) => {
    if (event.type === "resync" || event.streams?.some((row) => row.stream_id === stream_id)) map.mark();
  });
  return { node, update: map.refresh, close };
}

const first = ({ bin }, at) => at * bin + 1;
const last = ({ bin, last: end }, at) => Math.min((at + 1) * bin, end);

// A bin is as full as numbers of it are there; what misses but one of thousands is seen all the same.
function drawn(found) {
  const paths = { there: "", missing: "", unknown: "", aside: "" };
  found.missing.forEach((missing, at) => {
    const all = last(found, at) - first(found, at) + 1;
    const gap = missing === 0 ? 0 : Math.max(4, (missing / all) * TALL);
    const kind = first(found, at) > found.known_to ? "unknown" : "there";
    if (gap < TALL) paths[kind] += `M${at} ${ABOVE + gap}H${at + 1}V${ABOVE + TALL}H${at}Z`;
    if (gap) paths.missing += `M${at} ${ABOVE}H${at + 1}V${ABOVE + gap}H${at}Z`;
    if (found.conflicts[at]) paths.aside += `M${at} 0H${at + 1}L${at + 0.5} ${ABOVE - 1}Z`;
  });
  return paths;
}

function inWords({ epoch, last: end, missing_count, conflict_count, retransmit_count }) {
  return `Numbers 1 to ${number(end)} of epoch ${epoch}: ${number(missing_count)} missing, ${number(conflict_count)} in conflict, ${number(retransmit_count)} sent again`;
}

function legend(found) {
  return [
    `${inWords(found)}.`,
    "What is there is full, what is missing hangs from above, and a point over it is a conflict.",
    found.known_to < found.last && `From ${number(found.known_to + 1)} on there are gaps that are not listed, so that part is pale.`,
  ]
    .filter(Boolean)
    .join(" ");
}

function line(found, at) {
  const range = first(found, at) === last(found, at) ? number(last(found, at)) : `${number(first(found, at))} to ${number(last(found, at))}`;
  return h("tr", {}, h("th", { scope: "row" }, range), [found.missing[at], found.conflicts[at]].map((each) => h("td", {}, number(each))));
}
