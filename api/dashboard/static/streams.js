// All streams that there are. The page is told of as many as it has cards for, which may be not all of them; where it
// matters that none is missing, they are asked for.

import { ask, path } from "./http.js";
import { state } from "./state.js";

/** Resolves to all streams, as they are now. */
export const allStreams = async () => (await ask("GET", path(["streams"]))).streams;

/** Resolves to all streams where the page has cards for some only, to none where it has all. */
export const beyondCards = async () => (state.verdict?.streams > state.streams.size ? allStreams() : []);
