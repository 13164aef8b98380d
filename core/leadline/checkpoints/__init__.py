"""Where weights come from: the catalog, the official formats, our own, and the cache."""
