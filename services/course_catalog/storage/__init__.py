"""Where courses are kept: DynamoDB, and an in-memory twin under the same contract suite."""
