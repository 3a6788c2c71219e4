"""The page and the HTTP API. Loaded only where http.listen names an address, and by `diagnose --serve`."""
