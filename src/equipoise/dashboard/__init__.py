"""The door for the eye: pages that people work on, and pages that show where experiments stand, served on this machine."""
