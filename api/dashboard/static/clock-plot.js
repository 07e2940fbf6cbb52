// How far off readers' clocks were over time: where one drifts, and when somebody set it.

import { h, setText } from "./dom.js";
import { count, offset, received } from "./format.js";
import { fresh } from "./fresh.js";
import { ask } from "./http.js";
import { linePlot } from "./lines.js";
import { empty } from "./parts.js";
import { onEvent, serverNow } from "./state.js";

const EVERY_MS = 30000;
// What is amber and what is red; the same on both sides.
const BOUNDS_MS = [100, 500];
// Below that a line is straight, beyond it each ten times more is as tall: an hour must not make seconds invisible.
const STRAIGHT_MS = 50;

const bent = (ms) => Math.sign(ms) * Math.log1p(Math.abs(ms) / STRAIGHT_MS);
const asOffset = (clock_offset_ms) => offset({ clock_offset_ms, zone_unknown: false });

/** Returns {node, update(), close()}: of one stream, or of all, those that are furthest off first. */
export function clockPlot({ stream_id = null } = {}) {
  const plot = linePlot({
    caption: "How far readers' clocks were off",
    words: (lines) => `Offsets of readers' clocks over 12 hours, now: ${lines.map(({ name, said }) => `${name} ${said}`).join(", ")}`,
    extent: (values) => {
      const most = Math.max(BOUNDS_MS.at(-1) * 1.2, ...values.map(Math.abs));
      return [-most, most];
    },
    place: (value, [, high]) => 0.5 + bent(value) / bent(high) / 2,
    grid: [0, ...BOUNDS_MS, ...BOUNDS_MS.map((ms) => -ms)],
    text: asOffset,
    within: (values) => values.at(-1),
  });
  const said = h("p", { class: "hint" });
  const set = h("ul", { class: "clock-steps" });
  const none = empty("No clock is known yet.", h("p", {}, "As soon as a reader reads live, this shows how far its clock is off."));
  const load = fresh(show, { everyMs: EVERY_MS });
  const node = h("div", {}, load.said, said, plot.node, set, none);
  plot.node.hidden = none.hidden = true;

  async function show() {
    const { clocks, left_out, ...axis } = await ask("GET", `api/v1/clocks${stream_id === null ? "" : `?stream_id=${encodeURIComponent(stream_id)}`}`);
    const known = clocks.filter(({ zone_unknown }) => !zone_unknown);
    none.hidden = clocks.length > 0;
    plot.node.hidden = known.length === 0;
    setText(said, wordsOf(clocks, left_out));
    if (known.length) plot.update(axis, known.map((clock) => ({ name: clock.title, values: clock.offsets_ms, said: nowOf(clock) })));
    set.replaceChildren(...known.flatMap((clock) => clock.steps.map((step) => h("li", {}, stepOf(clock, step)))));
  }

  const close = onEvent((event) => {
    if (event.type === "resync" || event.streams || event.reads) load.mark();
  });
  return { node, update: load.refresh, close };
}

const nowOf = (clock) => `${asOffset(clock.offset_ms)}${driftOf(clock)}`;

// Within twice its error nobody knows whether it drifts.
function driftOf({ drift_ppm: ppm, drift_error_ppm: error }) {
  if (ppm === null) return "";
  if (Math.abs(ppm) <= 2 * error) return ", steady";
  const size = Math.abs(ppm);
  return `, ${ppm > 0 ? "gains" : "loses"} ${size < 10 ? size.toFixed(1) : Math.round(size)} ppm`;
}

function stepOf({ title }, { at, was_ms, is_ms }) {
  const was = was_ms === null ? "" : ` from ${asOffset(was_ms)}`;
  return `${title}: set at ${received(at, serverNow())}${was} to ${asOffset(is_ms)}`;
}

function wordsOf(clocks, left_out) {
  const unknown = clocks.filter(({ zone_unknown }) => zone_unknown);
  return [
    clocks.length > 0 && "Reader's clock minus the server's, by live reads; thin lines at 0.1 s and 0.5 s, where it is amber and red.",
    unknown.length && `Zone unknown: ${unknown.map(({ title }) => title).join(", ")}. Set TIME_ZONE, or the zone of the forwarder.`,
    left_out && `${count(left_out, "clock")} that ${left_out === 1 ? "is" : "are"} less far off not shown.`,
  ]
    .filter(Boolean)
    .join(" ");
}
