"""What the services share, part by part."""
