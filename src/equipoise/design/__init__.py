"""How we will know: sizes, looks and boundaries, duration: the plan that is written down before launch."""
