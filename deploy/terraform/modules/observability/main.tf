# How operators see the services: whom alarms tell, what X-Ray samples and groups, and dashboards.

# Before any API may write logs, the region's API Gateway needs a role to write them with.
resource "aws_api_gateway_account" "this" {
  cloudwatch_role_arn = aws_iam_role.gateway_logging.arn
  depends_on          = [aws_iam_role_policy.gateway_logging]
}

resource "aws_iam_role" "gateway_logging" {
  name = "lyceum-gateway-logging"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "apigateway.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "gateway_logging" {
  name = "write"
  role = aws_iam_role.gateway_logging.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # API Gateway names its execution logs itself, and asks for all of these before it takes the role.
        Sid    = "WriteGatewayLogs"
        Effect = "Allow"
        Action = [
          "logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:FilterLogEvents",
          "logs:GetLogEvents", "logs:PutLogEvents",
        ]
        Resource = [
          "arn:aws:logs:${var.region}:${var.account}:log-group:/lyceum/gateway/*",
          "arn:aws:logs:${var.region}:${var.account}:log-group:API-Gateway-Execution-Logs_*",
        ]
      },
      {
        # Tells names of log groups alone; the action knows no resource.
        Sid      = "FindGatewayLogs"
        Effect   = "Allow"
        Action   = "logs:DescribeLogGroups"
        Resource = "*"
      },
    ]
  })
}

resource "aws_sns_topic" "alarms" {
  # checkov:skip=CKV_AWS_26:CloudWatch can not publish through the key that SNS manages; alarms hold names and numbers (docs/adr/0111)
  name = "lyceum-alarms"
}

resource "aws_sns_topic_policy" "alarms" {
  arn = aws_sns_topic.alarms.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AlarmsOfThisAccount"
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Action    = "sns:Publish"
      Resource  = aws_sns_topic.alarms.arn
      Condition = { StringEquals = { "aws:SourceAccount" = var.account } }
    }]
  })
}

resource "aws_sns_topic_subscription" "alarms" {
  for_each = toset(var.emails)

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.key
}

# Health checks come every few seconds to each task and say nothing: never sampled, whoever's they are.
resource "aws_xray_sampling_rule" "health_checks" {
  for_each = { healthz = 1000, readyz = 1001 }

  rule_name      = "lyceum-${each.key}"
  priority       = each.value
  version        = 1
  reservoir_size = 0
  fixed_rate     = 0
  url_path       = "/${each.key}"
  http_method    = "*"
  host           = "*"
  service_name   = "*"
  service_type   = "*"
  resource_arn   = "*"
}

locals {
  priorities = { for index, name in sort(keys(var.services)) : name => 2000 + 10 * index }
}

resource "aws_xray_sampling_rule" "service" {
  for_each = var.services

  rule_name      = "lyceum-${replace(each.key, "_", "-")}"
  priority       = local.priorities[each.key]
  version        = 1
  reservoir_size = var.tracing.reservoir
  fixed_rate     = var.tracing.rate
  url_path       = "*"
  http_method    = "*"
  host           = "*"
  service_name   = each.key
  service_type   = "*"
  resource_arn   = "*"
  tags           = { Service = each.key }
}

resource "aws_xray_group" "service" {
  for_each = var.services

  group_name        = "lyceum-${replace(each.key, "_", "-")}"
  filter_expression = "service(\"${each.key}\")"
  tags              = { Service = each.key }

  insights_configuration {
    insights_enabled      = true
    notifications_enabled = false # alarms page; insights are for who looks
  }
}
