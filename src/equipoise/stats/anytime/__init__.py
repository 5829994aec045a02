"""Looking whenever one likes: intervals that hold at every moment."""
