// Puts the page together: the bar, the link, and the page that the address names after its #.

import { h, setAttribute } from "./dom.js";
import { follow } from "./link.js";
import { configPage } from "./page-config.js";
import { conflictsPage } from "./page-conflicts.js";
import { devicesPage } from "./page-devices.js";
import { firstPage } from "./page-first.js";
import { logPage } from "./page-log.js";
import { streamPage } from "./page-stream.js";
import { streamsPage } from "./page-streams.js";
import { state, subscribe } from "./state.js";
import { verdictBar, zoneLine } from "./verdict.js";

const PAGES = {
  "": firstPage,
  troubles: firstPage,
  stream: streamPage,
  streams: streamsPage,
  devices: devicesPage,
  config: configPage,
  conflicts: conflictsPage,
  log: logPage,
};
// Where a page that the navigation does not name belongs.
const ABOVE = { stream: "", streams: "", troubles: "", config: "devices" };

const main = document.querySelector("main");
const bar = verdictBar();
const zone = zoneLine();
let page = null;

// What of an address cannot be read is no address of ours.
function parts(hash) {
  try {
    return hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  } catch {
    return [""];
  }
}

function open() {
  const [name, ...given] = parts(location.hash);
  page?.close?.();
  page = (Object.hasOwn(PAGES, name) ? PAGES[name] : firstPage)(...given);
  main.replaceChildren(page.node);
  const above = ABOVE[name] ?? name;
  for (const link of document.querySelectorAll("nav a:not(.home)")) {
    setAttribute(link, "aria-current", link.hash === `#/${above}` ? "page" : null);
  }
  page.update?.();
  const place = document.getElementById(name);
  if (place) place.scrollIntoView();
  else scrollTo(0, 0);
}

function update() {
  bar.update();
  zone.update();
  if (!state.loaded) return;
  // A page may count on knowing the streams' names from its first line on.
  if (page === null) open();
  else page.update?.();
}

// A slash goes to the page's filter, wherever nothing is being typed.
function slash(event) {
  const typing = event.target.closest("input, textarea, select, dialog");
  const filter = document.querySelector("[data-filter]");
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typing || !filter) return;
  event.preventDefault();
  filter.focus();
}

document.querySelector("nav").append(zone.node);
document.querySelector("nav").after(bar.node);
document.body.append(h("p", { id: "said", class: "said", role: "status", hidden: true }));
addEventListener("hashchange", () => {
  if (!state.loaded) return;
  open();
  main.focus({ preventScroll: true });
});
addEventListener("keydown", slash);
update();
subscribe(update);
// Ages grow without any event.
setInterval(update, 1000);
follow();
