"""From measured loads to task sizes, counts, capacity modes and a monthly bill; see README.md."""
