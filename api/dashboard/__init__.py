"""The dashboard's files, and the routes that serve them."""
