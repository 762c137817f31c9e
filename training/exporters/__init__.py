"""Real models, each trained and exported by the libraries that people use for it."""
