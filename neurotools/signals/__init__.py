"""Recording to recording, or recording to design: small labelled steps."""
