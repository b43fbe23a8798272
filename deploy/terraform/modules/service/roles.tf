# Two roles: the agent's, to start a task, and the task's own, to do what the service's repository does.

locals {
  only_tasks_of_this_account = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = var.platform.account }
        ArnLike      = { "aws:SourceArn" = "arn:aws:ecs:${var.platform.region}:${var.platform.account}:*" }
      }
    }]
  })
}

resource "aws_iam_role" "task" {
  name               = "lyceum-${local.dashed}"
  description        = "What ${var.name} may do"
  assume_role_policy = local.only_tasks_of_this_account
  tags               = local.tags
}

resource "aws_iam_role_policy" "task" {
  name   = "repository"
  role   = aws_iam_role.task.id
  policy = var.policy
}

resource "aws_iam_role_policy" "tracing" {
  name = "tracing"
  role = aws_iam_role.task.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "SegmentsAndSamplingRules"
      Effect   = "Allow"
      Action   = ["xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTraceSegments"]
      Resource = "*"
    }]
  })
}

resource "aws_iam_role" "execution" {
  name               = "lyceum-${local.dashed}-execution"
  description        = "What starting a task of ${var.name} needs"
  assume_role_policy = local.only_tasks_of_this_account
  tags               = local.tags
}

resource "aws_iam_role_policy" "execution" {
  name = "start"
  role = aws_iam_role.execution.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "SignInToTheRegistry"
        Effect   = "Allow"
        Action   = "ecr:GetAuthorizationToken"
        Resource = "*"
      },
      {
        Sid      = "PullTheImages"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = [var.repository, var.platform.collector_arn]
      },
      {
        Sid      = "WriteTheLog"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.this.arn}:*"
      },
      {
        Sid      = "ReadTheCursorSecrets"
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = local.cursor_secret_arn
      },
    ]
  })
}
