"""The door for traffic: an OpenAI-compatible endpoint that puts each conversation into its variant."""
