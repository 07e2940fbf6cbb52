// What is stored and not in what a page shows yet: nobody takes who is not there for somebody who did not come by.

import { count } from "./format.js";

/** Returns that in words; nothing where all is in it. */
export const waitingWords = (events) =>
  events ? `${count(events, "stored event is", "stored events are")} not looked at yet: whoever is in them is missing here until then.` : "";
