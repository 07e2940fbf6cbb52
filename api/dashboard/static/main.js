// The page's first words: the bar and the link, which are loaded before all else, so that the verdict is there when it is
// the only thing that has come. What the first page needs follows at once, in one go (see index.html).

import { h } from "./dom.js";
import { follow, loadAgain } from "./link.js";
import { subscribe } from "./state.js";
import { verdictBar, zoneLine } from "./verdict.js";

const [bar, zone] = [verdictBar(), zoneLine()];

// What had the focus and is gone, or hidden, leaves it to nobody: who does not look would begin at the top of the page.
let focused = null;
addEventListener("focusin", ({ target }) => (focused = target));

function keepFocus() {
  if (focused === null || document.activeElement !== document.body || focused.checkVisibility()) return;
  focused = null;
  document.querySelector("main").focus({ preventScroll: true });
}

function update() {
  keepFocus();
  bar.update();
  zone.update();
}

// Done when the style of the parts has come: a page without it would jump.
function loadTheRest() {
  const { content } = document.querySelector("template#later");
  const style = content.querySelector("[rel=stylesheet]");
  const styled = new Promise((done, fail) => {
    style.addEventListener("load", done);
    style.addEventListener("error", () => fail(new Error("its style")));
  });
  document.head.append(content);
  return styled;
}

async function showPages() {
  try {
    const [{ showPages }] = await Promise.all([import("./pages.js"), loadTheRest()]);
    showPages();
  } catch (error) {
    loadAgain(error);
  }
}

document.querySelector("nav").append(zone.node);
document.querySelector("nav").after(bar.node);
document.body.append(h("p", { id: "said", class: "said", role: "status", hidden: true }));
update();
subscribe(update);
// Ages grow without any event.
setInterval(update, 1000);
follow().then(showPages);
