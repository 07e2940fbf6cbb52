"""The metrics of a fanout."""

from shared.metrics import counter, gauge

__all__ = ["ACKED", "CURSOR_WRITES", "DELIVERED", "PAGES_READ", "PAGES_SHARED", "REQUESTS", "TAILED", "TAILS"]

DELIVERED = counter("events_delivered", "events sent to receivers, each receiver counted")
ACKED = counter("events_acked_by_receivers", "events in flight that an ack covered")
TAILED = counter("events_tailed", "events read for the tails, each once for the node")
PAGES_READ = counter("replay_pages_read", "pages read from the database for receivers behind the tail")
PAGES_SHARED = counter("replay_pages_shared", "pages that another receiver had read already")
CURSOR_WRITES = counter("cursor_writes", "statements that moved cursors")
TAILS = gauge("tails", "streams that this node tails")
REQUESTS = counter("receiver_requests", "what receivers have asked through their sockets", "kind", "ending")
