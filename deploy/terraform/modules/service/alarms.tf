# Symptoms, as callers feel them; each says what to do. The first two also roll a deployment back.

resource "aws_cloudwatch_metric_alarm" "of_service" {
  for_each = {
    for name, alarm in {
      faults = {
        description = "More than 1 % of the requests to ${local.service} end in a 5xx"
        threshold   = 1
        period      = 60
        periods     = 3
        expression  = "IF(requests >= 20, 100 * faults / requests, 0)"
        metrics     = { requests = { name = "RequestCount", stat = "Sum" }, faults = { name = "FaultCount", stat = "Sum" } }
      }
      latency = {
        description = "One of a hundred requests to ${local.service} takes longer than a second"
        threshold   = 1000
        period      = 60
        periods     = 5
        expression  = "IF(requests >= 20, p99, 0)"
        metrics     = { requests = { name = "RequestCount", stat = "Sum" }, p99 = { name = "Latency", stat = "p99" } }
      }
    } : name => alarm if local.answers
  }

  alarm_name          = "lyceum-${local.dashed}-${each.key}"
  alarm_description   = "${each.value.description}. Runbook: ${var.platform.alarms.runbooks}/${each.key}.md"
  threshold           = each.value.threshold
  comparison_operator = "GreaterThanThreshold"
  evaluation_periods  = each.value.periods
  treat_missing_data  = "notBreaching" # nobody asked
  alarm_actions       = [var.platform.alarms.topic_arn]
  ok_actions          = [var.platform.alarms.topic_arn]
  tags                = local.tags

  metric_query {
    id          = "symptom"
    expression  = each.value.expression
    label       = each.key
    return_data = true
  }
  dynamic "metric_query" {
    for_each = each.value.metrics
    content {
      id = metric_query.key
      metric {
        namespace   = "Lyceum"
        metric_name = metric_query.value.name
        dimensions  = { Service = local.service }
        stat        = metric_query.value.stat
        period      = each.value.period
      }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "no_healthy_task" {
  count = local.answers ? 1 : 0

  alarm_name          = "lyceum-${local.dashed}-no-healthy-task"
  alarm_description   = "No task of ${local.service} is healthy: it is down. Runbook: ${var.platform.alarms.runbooks}/no-healthy-task.md"
  namespace           = "AWS/ApplicationELB"
  metric_name         = "HealthyHostCount"
  dimensions          = { LoadBalancer = var.platform.network.load_balancer_metric_name, TargetGroup = aws_lb_target_group.this[0].arn_suffix }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 2
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "breaching" # no target has no metric either
  alarm_actions       = [var.platform.alarms.topic_arn]
  ok_actions          = [var.platform.alarms.topic_arn]
  tags                = local.tags
}

resource "aws_cloudwatch_metric_alarm" "no_task" {
  count = local.answers ? 0 : 1

  alarm_name          = "lyceum-${local.dashed}-no-task"
  alarm_description   = "No task of ${var.name} runs. Runbook: ${var.platform.alarms.runbooks}/no-healthy-task.md"
  namespace           = "ECS/ContainerInsights"
  metric_name         = "RunningTaskCount"
  dimensions          = { ClusterName = var.platform.cluster_name, ServiceName = var.name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 3
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = [var.platform.alarms.topic_arn]
  ok_actions          = [var.platform.alarms.topic_arn]
  tags                = local.tags
}
