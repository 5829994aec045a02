"""Which of two answers is preferred, and how strong each variant is."""
