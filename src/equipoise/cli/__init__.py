"""The door for the hand: one file per command."""
