"""Registered looks: boundaries, futility, and what may be said after stopping."""
