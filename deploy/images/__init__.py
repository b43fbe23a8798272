"""The services' container images: what they are built on, what is in them, and how they measure up."""
