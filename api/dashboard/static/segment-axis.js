// The time axis of a stream: reads per bin, what of them is the race's, and a handle for each boundary. A handle is a slider:
// arrow keys move it by 5 s, with Shift by a minute, Page Up and Down by ten minutes; Enter applies, Escape cancels. Until it
// is applied nothing has changed, and what would change stands below.

import { say } from "./dialog.js";
import { h, keyed, setAttribute, setText, svg } from "./dom.js";
import { ask, path } from "./http.js";
import { button, failure, field } from "./parts.js";
import { bound, boundaries, clock, msOf, named, outermost, resolved, textOf, wanted } from "./segments.js";

const WIDTH = 1000;
const HEIGHT = 96;
const BAND = 16;
const LOOK_AFTER_MS = 200;
const STEPS = { ArrowLeft: -5, ArrowDown: -5, ArrowRight: 5, ArrowUp: 5, PageDown: -600, PageUp: 600 };
const LARGER = 12;

/** Returns {node, update(stream)}; `moved` is called when a boundary was. */
export function boundaryAxis(race_id, moved) {
  const bars = svg("path", { class: "area" });
  const bands = svg("g");
  const drawing = svg("svg", { class: "axis", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, bands, bars);
  const handles = svg("svg", { class: "axis handles" });
  const show = keyed(handles, { key: (each) => `${each.place} ${each.which}`, make: () => handle(take) });
  const times = h("div", { class: "times num aside" });
  const panel = previewPanel({ look, apply, cancel });
  const node = h("div", { class: "plot" }, h("div", { class: "axes" }, drawing, handles), times, panel.node);
  let stream = null;
  // The handle that is being moved, and where to; what the server has said of it.
  let pending = null;
  let timer = 0;

  function update(next) {
    if (pending) return;
    stream = next;
    if (!stream.axis?.since) return;
    draw();
  }

  function draw() {
    const { axis } = stream;
    const x = scale(axis);
    setAttribute(bars, "d", steps(axis, x));
    const [since, until] = [msOf(axis.since), msOf(axis.until)];
    times.replaceChildren(...[0, 0.25, 0.5, 0.75, 1].map((share) => h("span", {}, textOf(since + share * (until - since)).slice(11, 16))));
    place();
  }

  function place() {
    const [since, until] = [msOf(stream.axis.since), msOf(stream.axis.until)];
    const ends = boundaries(stream).map((each) => ({ ...each, ms: isPending(each) ? pending.ms : each.ms }));
    const x = scale(stream.axis);
    const band = ([from, to, which]) => svg("rect", { class: which, x: x(from), y: 0, width: Math.max(2, x(to) - x(from)), height: which === "mine" ? HEIGHT : BAND / 2 });
    bands.replaceChildren(...boundsOf(stream, ends).map(band));
    show(ends.map((each) => ({ ...each, since, until, moving: isPending(each), title: stream.title })));
  }

  const isPending = (each) => pending !== null && pending.place === each.place && pending.which === each.which;

  /** Takes what somebody does with a handle: a time for it, or that it counts, or that it does not. */
  function take(what, of, ms) {
    if (what === "cancel") return cancel();
    if (what === "apply") return apply();
    const { since, until } = stream.axis;
    pending = { place: of.place, which: of.which, ms: Math.min(msOf(until), Math.max(msOf(since), ms)), answer: null };
    place();
    look(pending.ms);
  }

  /** Asks what would become of it, a moment after the last move. */
  function look(ms) {
    Object.assign(pending, { ms, answer: null });
    place();
    panel.looking(stream, pending);
    clearTimeout(timer);
    const mine = pending;
    timer = setTimeout(async () => {
      try {
        const answer = await put({ segments: wanted(stream, mine, ms), preview: true });
        if (mine !== pending || mine.ms !== ms) return;
        mine.answer = answer;
        panel.seen(answer, mine);
      } catch (error) {
        if (mine === pending && mine.ms === ms) panel.failed(error);
      }
    }, LOOK_AFTER_MS);
  }

  const put = (body) => ask("PUT", path(["races", race_id, "segments", stream.stream_id]), { body });

  async function apply() {
    if (!pending?.answer || pending.applying) return;
    pending.applying = true;
    try {
      const segments = resolved(pending.answer.stream.segments);
      const done = await put({ segments, expected_fingerprint: pending.answer.stream.fingerprint });
      say(`Moved: ${named(done.moved)}`);
      end();
      await moved();
    } catch (error) {
      pending.applying = false;
      panel.failed(error);
    }
  }

  function cancel() {
    end();
    draw();
    // What has come meanwhile.
    moved();
  }

  function end() {
    clearTimeout(timer);
    pending = null;
    panel.close();
  }

  return { node, update };
}

function scale({ since, until }) {
  const [from, to] = [msOf(since), msOf(until)];
  return (ms) => Math.round((Math.min(to, Math.max(from, ms)) - from) / Math.max(1, to - from) * WIDTH * 10) / 10;
}

// A bar for each bin, of all epochs together: what is not zero is seen.
function steps({ since, bin_s, bins }, x) {
  const sums = new Map();
  for (const { number, reads } of bins) sums.set(number, (sums.get(number) ?? 0) + reads);
  const most = Math.max(1, ...sums.values());
  const from = msOf(since);
  return [...sums]
    .map(([number, reads]) => {
      const [left, right] = [x(from + number * bin_s * 1000), x(from + (number + 1) * bin_s * 1000)];
      const top = HEIGHT - Math.max(2, (reads / most) * (HEIGHT - BAND));
      return `M${left} ${HEIGHT}V${top.toFixed(1)}H${Math.max(right, left + 1)}V${HEIGHT}Z`;
    })
    .join("");
}

// From where to where the race has the stream, and each of its epochs, by turns.
function boundsOf(stream, ends) {
  const mine = stream.segments.map((_, at) => [ends[2 * at].ms, ends[2 * at + 1].ms, "mine"]);
  const epochs = new Map();
  for (const { epoch, first_at, last_at } of stream.ranges) {
    if (!first_at || !last_at) continue;
    const [from, to] = epochs.get(epoch) ?? [Infinity, -Infinity];
    epochs.set(epoch, [Math.min(from, msOf(first_at)), Math.max(to, msOf(last_at))]);
  }
  return [...mine, ...[...epochs].map(([epoch, [from, to]]) => [from, to, epoch % 2 ? "epoch odd" : "epoch even"])];
}

function handle(take) {
  const line = svg("line", { class: "stem", y1: 0, y2: "100%" });
  const grip = svg("rect", { class: "grip", y: 0, width: 16, height: 44, rx: 4, transform: "translate(-8 0)" });
  const wide = svg("rect", { class: "wide", y: 0, width: 44, height: "100%", transform: "translate(-22 0)" });
  const node = svg("g", { class: "handle", role: "slider", tabindex: "0", "aria-orientation": "horizontal" }, wide, line, grip);
  let shown = null;
  let dragged = false;

  node.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (event.key === "Enter") take("apply", shown);
    else if (event.key === "Escape") take("cancel", shown);
    else if (event.key === "Home" || event.key === "End") take("move", shown, event.key === "Home" ? shown.since : shown.until);
    else if (step) take("move", shown, shown.ms + step * 1000 * (event.shiftKey && event.key.startsWith("Arrow") ? LARGER : 1));
    else return;
    event.preventDefault();
  });
  node.addEventListener("pointerdown", (event) => {
    dragged = true;
    node.setPointerCapture(event.pointerId);
  });
  node.addEventListener("pointermove", (event) => {
    if (!dragged) return;
    const { left, width } = node.ownerSVGElement.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - left) / width));
    take("move", shown, Math.round((shown.since + share * (shown.until - shown.since)) / 1000) * 1000);
  });
  for (const name of ["pointerup", "pointercancel"]) node.addEventListener(name, () => (dragged = false));

  const update = (each) => {
    shown = each;
    const share = `${(((each.ms - each.since) / Math.max(1, each.until - each.since)) * 100).toFixed(3)}%`;
    for (const [part, name] of [[line, "x1"], [line, "x2"], [grip, "x"], [wide, "x"]]) setAttribute(part, name, share);
    setAttribute(node, "class", `handle ${each.which}${each.moving ? " moving" : ""}`);
    setAttribute(node, "aria-label", `${each.which === "begins" ? "Begins" : "Ends"}: segment ${each.place + 1} of ${each.title}`);
    setAttribute(node, "aria-valuemin", Math.round(each.since / 1000));
    setAttribute(node, "aria-valuemax", Math.round(each.until / 1000));
    setAttribute(node, "aria-valuenow", Math.round(each.ms / 1000));
    setAttribute(node, "aria-valuetext", `${clock(textOf(each.ms))}${each.segment[each.which] === null && !each.moving ? ", open" : ""}`);
  };
  return { node, update };
}

function previewPanel({ look, apply, cancel }) {
  const at = h("input", { type: "datetime-local", step: 1 });
  const which = h("p", { class: "strong" });
  const said = h("div", { role: "status" });
  const go = button("Apply", apply, { kind: "primary" });
  const node = h("div", { class: "preview" }, which, field("By the reader's clock", at), said, h("div", { class: "buttons" }, go, button("Cancel", cancel)));
  node.hidden = true;
  at.addEventListener("input", () => at.value && look(msOf(at.value)));

  const looking = (stream, pending) => {
    node.hidden = false;
    go.disabled = true;
    setText(which, `${stream.title}: segment ${pending.place + 1} ${pending.which}`);
    if (document.activeElement !== at) at.value = textOf(pending.ms);
    said.replaceChildren(h("p", { class: "hint" }, "Looking what would change sides…"));
  };
  const seen = (answer, { which: end }) => {
    go.disabled = false;
    said.replaceChildren(
      h("p", {}, `It would change: ${named(answer.moved)}`),
      h("p", { class: "hint" }, outermost(answer.moved)),
      h("p", { class: "hint" }, `Then it ${end}: ${resolved(answer.stream.segments).map((each) => (each[end] ? bound([each[end].epoch, each[end].seq]) : "open")).join(", ")}. Enter applies, Escape cancels.`),
    );
  };
  const failed = (error) => {
    go.disabled = true;
    said.replaceChildren(failure(error));
  };
  return { node, looking, seen, failed, close: () => (node.hidden = true) };
}
