"""An aggregator that is killed again and again, and what is on disk each time."""
