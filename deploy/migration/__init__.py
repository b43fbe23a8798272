"""The split of one live DynamoDB table into one table for each service, and the way back.

Sees the libraries and nothing of any service: what belongs where is said by a mapping.
"""
