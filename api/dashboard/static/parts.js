// Small parts that several pages show: state badges, sections, facts, buttons, empty states.

import { h, setAttribute, setText, svg } from "./dom.js";

// A state is a word and a shape besides its colour: check mark, triangle, octagon; a cross when the page knows nothing, a
// bar where nothing has come yet.
const SHAPES = {
  good: "M6.4 13.6.8 8l2-2 3.6 3.6 6.8-6.8 2 2Z",
  watch: "M8 .8 15.8 15H.2ZM7 5.5h2l-.3 4.7H7.3ZM7 11.3h2v2H7Z",
  act: "M5 .5h6L15.5 5v6L11 15.5H5L.5 11V5ZM7 3.5h2l-.3 5.7H7.3ZM7 10.5h2v2H7Z",
  quiet: "M8 .5a7.5 7.5 0 1 1 0 15 7.5 7.5 0 0 1 0-15Zm0 2.2a5.3 5.3 0 1 0 0 10.6A5.3 5.3 0 0 0 8 2.7ZM4.5 7h7v2h-7Z",
  silent: "M2 6.5h12v3H2Z",
  lost: "m3 .5 5 5 5-5L15.5 3l-5 5 5 5-2.5 2.5-5-5-5 5L.5 13l5-5-5-5Z",
};
const WORDS = { good: "good", watch: "watch", act: "act", silent: "silent", lost: "lost" };

/**
 * Whether nothing has come of a stream, so that it is not called good: its forwarder may be there; whether the reader is
 * switched on, nobody knows.
 */
export const isSilent = ({ level, closed_at = null, last_received_at }) =>
  level === "good" && closed_at === null && last_received_at === null;

/** Returns the shape of a level. */
export const shape = (level) =>
  svg(
    "svg",
    { class: "shape", viewBox: "0 0 16 16", "aria-hidden": "true" },
    svg("path", { d: SHAPES[level], "fill-rule": "evenodd" }),
  );

/** Returns {node, update(level, said)}: the badge of a level; said: its word where it is another. */
export function badge(words = WORDS) {
  const word = h("span");
  const node = h("span", { class: "badge" }, word);
  let shown = null;
  const update = (level, said = null) => {
    setText(word, said ?? words[level]);
    if (level === shown) return;
    shown = level;
    setAttribute(node, "data-level", level);
    node.replaceChildren(shape(level), word);
  };
  return { node, update };
}

/** Returns a section with a heading, which is its name, and what stands beside it. */
export function section(title, { aside = null, id = null, level = "h2" } = {}, ...children) {
  return h("section", { id, "aria-label": title }, h("div", { class: "section-head" }, h(level, {}, title), aside), children);
}

/** Returns {node, set(value)}: a number with its label, in a list of facts. */
export function fact(label) {
  const value = h("dd", { class: "num" });
  const node = h("div", { class: "fact" }, h("dt", {}, label), value);
  return {
    node,
    set: (text, level = null) => (setText(value, text), setAttribute(value, "data-level", level)),
  };
}

/** Returns a button. kind: plain, primary or danger. */
export const button = (label, press, { kind = "plain", ...more } = {}) =>
  h("button", { type: "button", class: `button ${kind}`, on: { click: press }, ...more }, label);

/** Returns what stands where nothing is yet, and says what to do next. */
export const empty = (title, ...more) =>
  h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), ...more);

/** Returns a field: a label with its control. */
export const field = (label, control, { hint = null } = {}) =>
  h(
    "label",
    { class: "field" },
    h("span", { class: "label" }, label),
    control,
    hint && h("span", { class: "hint" }, hint),
  );

/** Returns the page's word for something that failed. */
export const failure = (error) => h("p", { class: "failure", role: "alert" }, shape("act"), error.message);
