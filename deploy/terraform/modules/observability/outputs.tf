output "alarms" {
  description = "Whom alarms tell, and where their runbooks are."
  value       = { topic_arn = aws_sns_topic.alarms.arn, runbooks = var.runbooks }
}

output "gateway_logging" {
  description = "The role that API Gateway writes logs with, once the region has it."
  value       = aws_api_gateway_account.this.cloudwatch_role_arn
}

output "dashboards" {
  description = "The names of the dashboards."
  value       = { for name, dashboard in aws_cloudwatch_dashboard.this : name => dashboard.dashboard_name }
}
