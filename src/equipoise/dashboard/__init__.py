"""The door for the eye: pages that people work on, served on this machine."""
