"""What operators ask of forwarders."""
