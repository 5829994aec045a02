"""What it shows: health first, then effects with intervals that agree with their tests."""
