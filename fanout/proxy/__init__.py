"""What receivers ask of the operators' API through their own sockets, as the fanout sees it."""
