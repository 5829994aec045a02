"""Bandits: what is believed of each arm, and who is played by which policy with what probability."""
