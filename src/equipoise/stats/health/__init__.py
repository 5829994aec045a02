"""What would make every other number worthless."""
