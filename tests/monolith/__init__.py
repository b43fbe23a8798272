"""The application that one leaves: a modular monolith on one DynamoDB table. README.md beside this
file says what it is for."""
