"""What receivers ask through their own sockets, answered by the handlers of the HTTP routes."""
