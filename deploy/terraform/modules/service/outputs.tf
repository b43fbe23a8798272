output "target_group_metric_name" {
  description = "The target group as CloudWatch names it; null for who answers no requests."
  value       = one(aws_lb_target_group.this[*].arn_suffix)
}

output "log_group" {
  description = "Where the tasks' lines are."
  value       = aws_cloudwatch_log_group.this.name
}

output "cursor_secret_arn" {
  description = "What signs the service's cursors."
  value       = local.cursor_secret_arn
}

output "task_role_arn" {
  description = "The role of the tasks."
  value       = aws_iam_role.task.arn
}
