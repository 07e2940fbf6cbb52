"""The ingest service: authenticates forwarders, stages their batches, acks what is durable."""
