"""The door for the clock: what is done again and again while users are exposed, and nobody asks for."""
