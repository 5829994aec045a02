"""Doors of others: what speaks to an application in a language it knows already."""
