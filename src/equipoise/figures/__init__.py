"""Values to pictures: static SVG charts, the page they stand on, and numbers as people read them."""
