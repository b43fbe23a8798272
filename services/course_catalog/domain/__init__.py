"""What a course is, how it changes and how courses are found; knows neither HTTP nor DynamoDB."""
