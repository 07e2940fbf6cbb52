// The rate of a stream over the last half hour, as an SVG of one path.

import { setAttribute, setText, svg } from "./dom.js";
import { number } from "./format.js";

const HEIGHT = 36;

/** Returns {node, update(bins)}: a step for each bin of reads, oldest first. */
export function sparkline() {
  const area = svg("path", { class: "area" });
  const title = svg("title");
  const node = svg(
    "svg",
    { class: "sparkline", role: "img", preserveAspectRatio: "none", viewBox: `0 0 180 ${HEIGHT}` },
    title,
    area,
  );
  let shown = null;
  const update = (bins) => {
    if (bins === shown) return;
    shown = bins;
    const most = Math.max(0, ...bins);
    setAttribute(node, "viewBox", `0 0 ${Math.max(1, bins.length)} ${HEIGHT}`);
    setAttribute(area, "d", steps(bins, Math.max(1, most)));
    setText(title, `Reads in the last 30 minutes, at most ${number(most)} in 10 seconds`);
  };
  return { node, update };
}

// What is not zero is at least a pixel high: a lonely read is seen.
function steps(bins, most) {
  const heights = bins.map((bin) => (bin === 0 ? 0 : Math.max(1.5, (bin / most) * (HEIGHT - 1))));
  const tops = heights.map((height, at) => `V${(HEIGHT - height).toFixed(1)}H${at + 1}`).join("");
  return `M0 ${HEIGHT}${tops}V${HEIGHT}Z`;
}
