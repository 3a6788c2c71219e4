"""Rules of incident 4, storage_gravity: what keeps a volume from being where its pod is."""
