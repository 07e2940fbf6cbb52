"""What a receiver of the second generation asks for in its hello: live, a race, or some epochs once more."""
