"""Mathematics on plain arrays: arrays in, arrays out; knows no names, no files, no models."""
