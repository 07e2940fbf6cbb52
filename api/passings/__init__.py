"""What each chip left at a stream without a gap of a second, made of events behind the drain."""
