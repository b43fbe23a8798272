"""A base image from Debian packages, equal in what matters to the public one of `BASE_IMAGE`."""
