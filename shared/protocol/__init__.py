"""The device protocol: messages, their decoding, and the read line. Pure."""
