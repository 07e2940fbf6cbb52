// Who came by the points of a race, and when: each point by itself, and all on one axis, where a line that goes flat while
// the one before it climbs is a fault.

import { h, keyed, setText } from "./dom.js";
import { count, number } from "./format.js";
import { fresh } from "./fresh.js";
import { askAgain, path } from "./http.js";
import { empty, section } from "./parts.js";
import { lengthOf, pointPlot, sumPlot, sumTable, timeAt } from "./plots.js";
import { onEvent, racesChanged } from "./state.js";
import { waitingWords } from "./waiting.js";

const EVERY_MS = 10000;

/** Returns {node, update(), close()}. */
export function raceFlow(race_id) {
  const list = h("ol", { class: "flow-points" });
  const show = keyed(list, { key: (each) => each.key, make: line });
  const [sums, table] = [sumPlot(), sumTable()];
  const said = h("p", { class: "hint" });
  const none = empty("Nobody has come by yet.", h("p", {}, "As soon as chips of the race are read, this shows when and where."));
  const plots = h("div", {}, said, list, section("Came by in all", { level: "h3" }, sums.node, table.node));
  const flow = fresh(load, { everyMs: EVERY_MS });
  const node = h("div", {}, flow.said, plots, none);
  let known;
  plots.hidden = none.hidden = true;

  async function load() {
    const before = known;
    known = await askAgain(path(["races", race_id, "flow"]), known);
    if (known === before) return;
    const { json } = known;
    // What nobody has placed, and where nobody was, would be one more flat line.
    const points = json.points.filter(({ placed, crossed }) => placed || crossed);
    // They come without an event of ours.
    if (json.waiting_events) flow.mark();
    none.hidden = json.begins_at !== null;
    plots.hidden = !none.hidden;
    if (plots.hidden) return;
    setText(said, words(json, points));
    show(points.map((point, at) => ({ key: `${at}`, flow: json, point })));
    sums.update(json, points);
    table.update(json, points);
  }

  const close = onEvent((event) => {
    if (racesChanged(event)) flow.hurry();
    else if (event.streams || event.reads) flow.mark();
  });
  return { node, update: flow.refresh, close };
}

function words(flow, points) {
  const outside = points.reduce((sum, point) => sum + point.outside, 0);
  const until = timeAt(flow, points[0].counts.length);
  return [
    `Each once, at the first read at a point, by the readers' clocks, from ${timeAt(flow, 0)} to ${until}; a step is ${lengthOf(flow)}.`,
    outside && `${count(outside, "time")} far from all others not shown: look at the reader's date.`,
    flow.left_out && `${count(flow.left_out, "stream")} without a place not shown.`,
    waitingWords(flow.waiting_events),
  ]
    .filter(Boolean)
    .join(" ");
}

function line() {
  const name = h("span", { class: "strong" });
  const crossed = h("span", { class: "num" });
  const plot = pointPlot();
  const node = h("li", {}, name, plot.node, crossed);
  const update = ({ flow, point }) => {
    setText(name, point.name);
    setText(crossed, number(point.crossed));
    plot.update(flow, point);
  };
  return { node, update };
}
