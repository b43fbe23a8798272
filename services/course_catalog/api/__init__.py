"""The catalog over HTTP: what is asked, who may ask it, what it looks like."""
