"""What we believe: the hypothesis, its variants and metrics, read from one file and named by its digest."""
