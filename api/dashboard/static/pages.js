// The page that the address names after its #, and what all pages have in common.

import { alarm } from "./alarm.js";
import { setAttribute } from "./dom.js";
import { unaskedMs } from "./http.js";
import { linkState, loadAgain } from "./link.js";
import { findPage, searchField } from "./search.js";
import { state, subscribe } from "./state.js";

const first = () => import("./page-first.js").then(({ firstPage }) => firstPage);
const PAGES = {
  "": first,
  alerts: first,
  stream: () => import("./page-stream.js").then(({ streamPage }) => streamPage),
  streams: () => import("./page-streams.js").then(({ streamsPage }) => streamsPage),
  devices: () => import("./page-devices.js").then(({ devicesPage }) => devicesPage),
  config: () => import("./page-config.js").then(({ configPage }) => configPage),
  races: () => import("./page-races.js").then(({ racesPage }) => racesPage),
  race: () => import("./page-race.js").then(({ racePage }) => racePage),
  certificate: () => import("./page-certificate.js").then(({ certificatePage }) => certificatePage),
  announcer: () => import("./page-announcer.js").then(({ announcerPage }) => announcerPage),
  find: () => Promise.resolve(findPage),
  person: () => import("./page-person.js").then(({ personPage }) => personPage),
  chip: () => import("./page-person.js").then(({ chipPage }) => chipPage),
  conflicts: () => import("./page-conflicts.js").then(({ conflictsPage }) => conflictsPage),
  log: () => import("./page-log.js").then(({ logPage }) => logPage),
};
// Where a page that the navigation does not name belongs.
const ABOVE = { race: "races", certificate: "races", stream: "", streams: "", alerts: "", config: "devices" };

// The first page has asked for all that it shows, and has it.
const IDLE_MS = 1000;

const main = document.querySelector("main");
const find = searchField();
let page = null;
let opening = 0;

/** Shows the page of the address as soon as there is something to show, and whichever is asked for afterwards. */
export function showPages() {
  document.querySelector("nav").append(find.node, alarm().node);
  if (pageOf(parts(location.hash)[0]) !== first) bringOthers();
  addEventListener("hashchange", async () => {
    if (!state.loaded) return;
    await open();
    main.focus({ preventScroll: true });
  });
  addEventListener("keydown", slash);
  subscribe(update);
  setInterval(update, 1000);
  update();
}

// What of an address cannot be read is no address of ours.
function parts(hash) {
  try {
    return hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  } catch {
    return [""];
  }
}

const pageOf = (name) => (Object.hasOwn(PAGES, name) ? PAGES[name] : first);

// The modules of all other pages come when the first page is alive and waits for nothing: so they take nothing away from
// it, and a link that is lost later keeps no page from opening. A second time there is nothing left to bring.
const bringOthers = () => document.head.append(document.querySelector("template#others").content);

async function open() {
  const [name, ...given] = parts(location.hash);
  const turn = ++opening;
  let make;
  try {
    make = await pageOf(name)();
  } catch (error) {
    return loadAgain(error);
  }
  // The address may be another by now.
  if (turn === opening) show(name, make(...given));
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
  if (!state.loaded) return;
  // A page may count on knowing the streams' names from its first line on.
  if (opening === 0) open();
  else page?.update?.();
  if (page && unaskedMs() > IDLE_MS && !linkState().lost) bringOthers();
}

// A slash goes to the field that finds anybody, wherever nothing is being typed; a second one, when nothing stands there yet,
// to the page's filter.
function slash(event) {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  const again = event.target === find.input && find.input.value === "";
  const filter = document.querySelector("[data-filter]");
  if (again ? !filter : event.target.closest("input, textarea, select, dialog")) return;
  event.preventDefault();
  (again ? filter : find.input).focus();
}
