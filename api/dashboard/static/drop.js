// A place where files are dropped, or chosen.

import { h } from "./dom.js";

/** Returns {node, clear()}; `take(files)` gets what was dropped or chosen, never nothing. */
export function dropZone(words, { accept = null, multiple = false, label, take }) {
  const given = (files) => files.length && take(multiple ? [...files] : [files[0]]);
  const chosen = h("input", {
    type: "file",
    multiple,
    accept,
    "aria-label": label,
    on: { change: () => given(chosen.files) },
  });
  const node = h(
    "div",
    { class: "drop", on: { dragover: over, dragleave: () => node.removeAttribute("data-over"), drop } },
    h("p", {}, words),
    chosen,
  );

  function over(event) {
    event.preventDefault();
    node.setAttribute("data-over", "");
  }

  function drop(event) {
    event.preventDefault();
    node.removeAttribute("data-over");
    given(event.dataTransfer.files);
  }

  return { node, clear: () => (chosen.value = "") };
}
