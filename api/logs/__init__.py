"""The activity log of the cluster."""
