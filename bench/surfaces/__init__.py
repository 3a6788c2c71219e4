"""What each surface of an aggregator costs beside what it does anyway."""
