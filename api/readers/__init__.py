"""Readers behind forwarders: how they stand, and what can be asked of them."""
