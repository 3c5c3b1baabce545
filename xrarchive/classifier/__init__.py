"""Multi-label classifiers: the guide steers the search, the judge only ever measures."""
