# What is seen outside of the tasks. The tasks' own alarms stand with them (modules/service).

resource "aws_cloudwatch_metric_alarm" "gateway" {
  for_each = var.services

  alarm_name          = "lyceum-${replace(each.key, "_", "-")}-gateway-faults"
  alarm_description   = "More than 1 % of the requests to the API of ${each.key} end in a 5xx, as clients see it. Runbook: ${var.runbooks}/gateway-faults.md"
  threshold           = 1
  comparison_operator = "GreaterThanThreshold"
  evaluation_periods  = 3
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = { Service = each.key }

  metric_query {
    id          = "symptom"
    expression  = "IF(requests >= 20, 100 * faults / requests, 0)"
    label       = "gateway-faults"
    return_data = true
  }
  dynamic "metric_query" {
    for_each = { requests = "Count", faults = "5XXError" }
    content {
      id = metric_query.key
      metric {
        namespace   = "AWS/ApiGateway"
        metric_name = metric_query.value
        dimensions  = { ApiName = each.value.api, Stage = each.value.stage }
        stat        = "Sum"
        period      = 60
      }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "throttled" {
  for_each = var.services

  alarm_name          = "lyceum-${replace(each.key, "_", "-")}-table-throttled"
  alarm_description   = "DynamoDB throttles the table ${each.value.table}: a partition is hot, or traffic doubled at once. Runbook: ${var.runbooks}/table-throttled.md"
  namespace           = "AWS/DynamoDB"
  metric_name         = "${each.key == "course_catalog" ? "Read" : "Write"}ThrottleEvents"
  dimensions          = { TableName = each.value.table }
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 3
  threshold           = 10
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = { Service = each.key }
}

resource "aws_cloudwatch_metric_alarm" "circuit_open" {
  for_each = var.services

  alarm_name          = "lyceum-${replace(each.key, "_", "-")}-circuit-open"
  alarm_description   = "A circuit of ${each.key} has refused calls to a dependency for five minutes. Runbook: ${var.runbooks}/circuit-open.md"
  threshold           = 1
  comparison_operator = "GreaterThanThreshold"
  evaluation_periods  = 5
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = { Service = each.key }

  metric_query {
    id          = "state"
    expression  = "MAX(METRICS())"
    label       = "circuit-open"
    return_data = true
  }
  dynamic "metric_query" {
    for_each = local.breakers[each.key]
    content {
      id = replace(metric_query.value, ":", "_")
      metric {
        namespace   = "Lyceum"
        metric_name = "BreakerState"
        dimensions  = { Service = each.key, Breaker = metric_query.value }
        stat        = "Maximum"
        period      = 60
      }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "directory_stale" {
  alarm_name          = "lyceum-course-catalog-directory-stale"
  alarm_description   = "The catalog's directory has not been refreshed for five minutes: lists are old. Runbook: ${var.runbooks}/directory-stale.md"
  namespace           = "Lyceum"
  metric_name         = "DirectoryAge"
  dimensions          = { Service = "course_catalog" }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 3
  threshold           = 300
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = { Service = "course_catalog" }
}

locals {
  # A circuit a dependency and operation class (libs/aws): an alarm can not search for them.
  breakers = {
    course_catalog    = ["dynamodb:read", "dynamodb:write"]
    content_delivery  = ["dynamodb:read", "dynamodb:write", "s3:read", "s3:write"]
    progress_tracking = ["dynamodb:read", "dynamodb:write"]
  }
}
