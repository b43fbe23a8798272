"""Where content delivery keeps its metadata and objects: DynamoDB and S3, and their twins in memory.

The only code that knows the table's attributes and the bucket. It knows nothing of HTTP.
"""
