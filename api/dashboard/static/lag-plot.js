// How far behind receivers were over time.

import { h, setText } from "./dom.js";
import { count, duration } from "./format.js";
import { fresh } from "./fresh.js";
import { ask } from "./http.js";
import { linePlot } from "./lines.js";
import { empty } from "./parts.js";
import { onEvent } from "./state.js";

const EVERY_MS = 30000;
// What is amber and what is red.
const BOUNDS_S = [5, 30];

const asSeconds = (seconds) => (seconds < 10 ? `${seconds.toFixed(1)} s` : duration(seconds));
const bent = (seconds) => Math.log1p(seconds);

/** Returns {node, update(), close()}. */
export function lagPlot() {
  const plot = linePlot({
    caption: "How far receivers were behind, at the worst",
    words: (lines) => `Seconds behind per receiver over 12 hours, at the worst: ${lines.map(({ name, said }) => `${name} ${said}`).join(", ")}`,
    extent: (values) => [0, Math.max(BOUNDS_S.at(-1) * 1.2, ...values)],
    place: (value, [, high]) => bent(value) / bent(high),
    grid: BOUNDS_S,
    text: asSeconds,
    within: (values) => (values.length ? Math.max(...values) : undefined),
  });
  const said = h("p", { class: "hint" });
  const none = empty("No receiver yet.", h("p", {}, "As soon as one connects, this shows how far it was behind."));
  const load = fresh(show, { everyMs: EVERY_MS });
  const node = h("div", {}, load.said, said, plot.node, none);
  plot.node.hidden = none.hidden = true;

  async function show() {
    const { receivers, left_out, ...axis } = await ask("GET", "api/v1/receiver-lags");
    none.hidden = receivers.length > 0;
    plot.node.hidden = receivers.length === 0;
    if (receivers.length === 0) return;
    const left = left_out ? ` ${count(left_out, "receiver")} that ${left_out === 1 ? "was" : "were"} less far behind not shown.` : "";
    setText(said, `Age of the oldest read that a receiver had not acked, at the worst moment of every two minutes; thin lines at 5 s and 30 s, where it is amber and red.${left}`);
    plot.update(axis, receivers.map((each) => ({ name: each.receiver_id, values: each.seconds, said: asSeconds(each.worst_seconds ?? 0) })));
  }

  const close = onEvent(() => load.mark());
  return { node, update: load.refresh, close };
}
