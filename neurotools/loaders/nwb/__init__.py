"""NWB files: units, trials, events, stimuli, traces and behaviour."""
