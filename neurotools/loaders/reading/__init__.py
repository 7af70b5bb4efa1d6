"""What all readers share: looking at first bytes, limits, checksums, units, arrays left on disk."""
