"""`equipoise demo`: the support bot's story in two acts, on a simulated endpoint with simulated customers."""
