"""Recording to fit: one frozen dataclass of settings per file, with its verbs and its mathematics below."""
