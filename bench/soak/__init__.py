"""Days of a cluster's life in minutes, to see that neither role grows: `make soak`, docs/testing.md."""
