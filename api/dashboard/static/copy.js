// What is to be copied, with the button that does it.

import { h } from "./dom.js";
import { button } from "./parts.js";

/** Returns a value, named for who listens, with the button that copies it, and says whether it could. */
export function toCopy(label, value, ...more) {
  const shown = h("input", { class: "mono", readonly: true, value, "aria-label": label });
  const copy = button("Copy", async () => {
    shown.select();
    // Without TLS a browser gives a page no clipboard but this one.
    const copied = await (navigator.clipboard?.writeText(value).then(
      () => true,
      () => false,
    ) ?? document.execCommand("copy"));
    copy.textContent = copied ? "Copied" : "Press Ctrl-C";
  });
  return h("div", { class: "once" }, shown, copy, more);
}
