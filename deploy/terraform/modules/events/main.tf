# How a course's outline gets from the catalog's table to progress tracking: stream, pipe, topic, queue.
# The catalog's events.yaml says what travels. One reader on the stream fans out through the topic: more
# than two readers of one shard are throttled.

variable "account" {
  description = "The account, for whom roles may be taken."
  type        = string
}

variable "stream_arn" {
  description = "The stream of the catalog's table."
  type        = string
}

variable "alarms" {
  description = "Whom alarms tell, and where their runbooks are."
  type        = object({ topic_arn = string, runbooks = string })
}

variable "tags" {
  description = "Tags of everything here."
  type        = map(string)
}

locals {
  fourteen_days = 14 * 86400 # SQS's longest
}

resource "aws_sns_topic" "outlines" {
  name              = "lyceum-course-outlines"
  kms_master_key_id = "alias/aws/sns"
  tags              = var.tags
}

resource "aws_sns_topic_policy" "outlines" {
  arn = aws_sns_topic.outlines.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "ThePipeTells"
      Effect    = "Allow"
      Principal = { AWS = aws_iam_role.pipe.arn }
      Action    = "sns:Publish"
      Resource  = aws_sns_topic.outlines.arn
    }]
  })
}

resource "aws_sqs_queue" "outlines" {
  name                       = "lyceum-progress-outlines"
  message_retention_seconds  = local.fourteen_days
  visibility_timeout_seconds = 60 # the consumer's own, which it extends while it works
  receive_wait_time_seconds  = 10
  sqs_managed_sse_enabled    = true
  tags                       = var.tags

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.parked.arn
    # Used up by what can't be read and by processes that die; the table's outages use none.
    maxReceiveCount = 20
  })
}

resource "aws_sqs_queue" "parked" {
  name                      = "lyceum-progress-outlines-parked"
  message_retention_seconds = local.fourteen_days
  sqs_managed_sse_enabled   = true
  tags                      = var.tags
}

resource "aws_sqs_queue_redrive_allow_policy" "parked" {
  queue_url = aws_sqs_queue.parked.id
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.outlines.arn]
  })
}

resource "aws_sqs_queue_policy" "outlines" {
  queue_url = aws_sqs_queue.outlines.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OutlinesOfTheTopic"
      Effect    = "Allow"
      Principal = { Service = "sns.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = aws_sqs_queue.outlines.arn
      Condition = { ArnEquals = { "aws:SourceArn" = aws_sns_topic.outlines.arn } }
    }]
  })
}

resource "aws_sns_topic_subscription" "outlines" {
  topic_arn = aws_sns_topic.outlines.arn
  protocol  = "sqs"
  endpoint  = aws_sqs_queue.outlines.arn
  # The message as it is: an envelope would be larger and would have to be unpacked.
  raw_message_delivery = true
}

# What the pipe could not tell the topic: shard and sequence number of the record. The replay brings it
# back (deploy/replay).
resource "aws_sqs_queue" "undelivered" {
  name                      = "lyceum-course-outlines-undelivered"
  message_retention_seconds = local.fourteen_days
  sqs_managed_sse_enabled   = true
  tags                      = var.tags
}

resource "aws_pipes_pipe" "outlines" {
  name       = "lyceum-course-outlines"
  role_arn   = aws_iam_role.pipe.arn
  source     = var.stream_arn
  target     = aws_sns_topic.outlines.arn
  tags       = var.tags
  depends_on = [aws_iam_role_policy.pipe]

  source_parameters {
    filter_criteria {
      filter {
        # As services/course_catalog/events.yaml says it.
        pattern = jsonencode({ dynamodb = { Keys = { courseId = { S = [{ prefix = "outline#" }] } } } })
      }
    }
    dynamodb_stream_parameters {
      starting_position                  = "TRIM_HORIZON"
      batch_size                         = 1 # one record a message, as the contract says
      maximum_retry_attempts             = 100
      maximum_record_age_in_seconds      = 43200
      maximum_batching_window_in_seconds = 0
      parallelization_factor             = 1
      dead_letter_config {
        arn = aws_sqs_queue.undelivered.arn
      }
    }
  }
}

resource "aws_iam_role" "pipe" {
  name = "lyceum-course-outlines-pipe"
  tags = var.tags
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "pipes.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = var.account } }
    }]
  })
}

resource "aws_iam_role_policy" "pipe" {
  name = "pipe"
  role = aws_iam_role.pipe.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "ReadTheStream"
        Effect   = "Allow"
        Action   = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"]
        Resource = var.stream_arn
      },
      {
        # Tells names of streams alone; the action knows no resource.
        Sid      = "FindTheStream"
        Effect   = "Allow"
        Action   = "dynamodb:ListStreams"
        Resource = "*"
      },
      {
        Sid      = "TellTheTopic"
        Effect   = "Allow"
        Action   = "sns:Publish"
        Resource = aws_sns_topic.outlines.arn
      },
      {
        Sid      = "PutAsideWhatCouldNotBeTold"
        Effect   = "Allow"
        Action   = "sqs:SendMessage"
        Resource = aws_sqs_queue.undelivered.arn
      },
    ]
  })
}

resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  for_each = {
    parked      = { queue = aws_sqs_queue.parked.name, what = "Outlines that the consumer can not read or finish are parked" }
    undelivered = { queue = aws_sqs_queue.undelivered.name, what = "The pipe gave up telling outlines" }
  }

  alarm_name          = "lyceum-outlines-${each.key}"
  alarm_description   = "${each.value.what}: progress may be measured by old outlines. Runbook: ${var.alarms.runbooks}/outlines-${each.key}.md"
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = each.value.queue }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarms.topic_arn]
  ok_actions          = [var.alarms.topic_arn]
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "late" {
  alarm_name          = "lyceum-outlines-late"
  alarm_description   = "An outline has waited for the consumer for more than ten minutes. Runbook: ${var.alarms.runbooks}/outlines-late.md"
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = aws_sqs_queue.outlines.name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 5
  threshold           = 600
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarms.topic_arn]
  ok_actions          = [var.alarms.topic_arn]
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "pipe" {
  alarm_name          = "lyceum-outlines-pipe-failing"
  alarm_description   = "The pipe from the catalog's table fails; it tries again for twelve hours. Runbook: ${var.alarms.runbooks}/outlines-undelivered.md"
  namespace           = "AWS/EventBridge/Pipes"
  metric_name         = "ExecutionFailed"
  dimensions          = { PipeName = aws_pipes_pipe.outlines.name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 3
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarms.topic_arn]
  ok_actions          = [var.alarms.topic_arn]
  tags                = var.tags
}

output "queue_url" {
  description = "The consumer's queue."
  value       = aws_sqs_queue.outlines.url
}

output "queue_arn" {
  description = "The consumer's queue."
  value       = aws_sqs_queue.outlines.arn
}

output "queue_name" {
  description = "The consumer's queue."
  value       = aws_sqs_queue.outlines.name
}

output "parked_queue_name" {
  description = "The consumer's dead letters."
  value       = aws_sqs_queue.parked.name
}

output "pipe_name" {
  description = "The pipe from the catalog's table."
  value       = aws_pipes_pipe.outlines.name
}
