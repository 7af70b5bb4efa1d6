"""Named pipelines for whole datasets, their runner, and the command line."""
