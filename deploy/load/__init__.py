"""What puts load on the platform has in common: requests that are sent once, and their answers."""
