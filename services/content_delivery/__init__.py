"""Content Delivery: where the content of a course is, and how to fetch it for a while."""
