// Puts the page together: the bar, the link, and the page that the address names after its #. What the bar needs is
// loaded first, so that the verdict is there when it is the only thing that has come; all pages follow at once, in one
// go (see index.html), and are there when they are asked for.

import { h, setAttribute } from "./dom.js";
import { follow, linkState } from "./link.js";
import { state, subscribe } from "./state.js";
import { verdictBar, zoneLine } from "./verdict.js";

const first = () => import("./page-first.js").then(({ firstPage }) => firstPage);
const PAGES = {
  "": first,
  troubles: first,
  stream: () => import("./page-stream.js").then(({ streamPage }) => streamPage),
  streams: () => import("./page-streams.js").then(({ streamsPage }) => streamsPage),
  devices: () => import("./page-devices.js").then(({ devicesPage }) => devicesPage),
  config: () => import("./page-config.js").then(({ configPage }) => configPage),
  conflicts: () => import("./page-conflicts.js").then(({ conflictsPage }) => conflictsPage),
  log: () => import("./page-log.js").then(({ logPage }) => logPage),
};
// Where a page that the navigation does not name belongs.
const ABOVE = { stream: "", streams: "", troubles: "", config: "devices" };
const RETRY_MS = 2000;

const main = document.querySelector("main");
const bar = verdictBar();
const zone = zoneLine();
let page = null;
let opening = 0;

// What of an address cannot be read is no address of ours.
function parts(hash) {
  try {
    return hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  } catch {
    return [""];
  }
}

async function open() {
  const [name, ...given] = parts(location.hash);
  const turn = ++opening;
  let make;
  try {
    make = await (Object.hasOwn(PAGES, name) ? PAGES[name] : first)();
  } catch (error) {
    console.info("a part of the page did not come:", error.message);
    setTimeout(again, RETRY_MS, turn);
    return;
  }
  // The address may be another by now.
  if (turn === opening) show(name, make(...given));
}

// A browser may keep a module's failure for as long as the page lives, and a page without its link cannot come back.
function again(turn) {
  if (turn !== opening) return;
  if (linkState().lost) open();
  else location.reload();
}

function show(name, next) {
  page?.close?.();
  page = next;
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
  if (opening === 0) open();
  else page?.update?.();
}

// A slash goes to the page's filter, wherever nothing is being typed.
function slash(event) {
  const typing = event.target.closest("input, textarea, select, dialog");
  const filter = document.querySelector("[data-filter]");
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typing || !filter) return;
  event.preventDefault();
  filter.focus();
}

// What stands in index.html for later: all other modules, each of which would be found only in the one that needs it.
function loadTheRest() {
  const later = document.querySelector("template#later");
  if (later) document.head.append(later.content);
}

document.querySelector("nav").append(zone.node);
document.querySelector("nav").after(bar.node);
document.body.append(h("p", { id: "said", class: "said", role: "status", hidden: true }));
addEventListener("hashchange", async () => {
  if (!state.loaded) return;
  await open();
  main.focus({ preventScroll: true });
});
addEventListener("keydown", slash);
update();
subscribe(update);
// Ages grow without any event.
setInterval(update, 1000);
follow().then(loadTheRest);
