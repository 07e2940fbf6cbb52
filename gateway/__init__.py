"""The ingest room: authenticates forwarders, stages their batches, acks what is durable."""
