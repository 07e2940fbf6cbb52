// A button that copies what stands beside it.

import { button } from "./parts.js";

/** Returns the button that copies the value of an input, and says whether it could. */
export function copyButton(shown) {
  const copy = button("Copy", async () => {
    shown.select();
    // Without TLS a browser gives a page no clipboard but this one.
    const copied = await (navigator.clipboard?.writeText(shown.value).then(
      () => true,
      () => false,
    ) ?? document.execCommand("copy"));
    copy.textContent = copied ? "Copied" : "Press Ctrl-C";
  });
  return copy;
}
