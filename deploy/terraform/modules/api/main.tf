# A service's own REST API, made of its contract, and its one stage. Requests go to what the stage's
# variable `target` says; a canary says another for its share of them.

resource "aws_api_gateway_rest_api" "this" {
  name              = "lyceum-${replace(var.name, "_", "-")}"
  description       = local.contract.info.title
  body              = jsonencode(local.body)
  put_rest_api_mode = "overwrite"
  tags              = { Service = var.name }


  endpoint_configuration {
    types = ["REGIONAL"]
  }

  lifecycle {
    create_before_destroy = true
    precondition {
      condition     = alltrue([for name, needed in local.needs : sort(needed) == sort(distinct(flatten([for other in needed : local.needs_1[other]])))])
      error_message = "The schemas of ${var.contract} refer to each other more than eight steps deep."
    }
  }
}

resource "aws_api_gateway_deployment" "this" {
  rest_api_id = aws_api_gateway_rest_api.this.id
  triggers    = { body = sha256(jsonencode(local.body)) }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_api_gateway_stage" "this" {
  # checkov:skip=CKV_AWS_120:answers differ by who asks; services say what may be kept, and clients keep it
  # checkov:skip=CKV2_AWS_29:what a web firewall is to keep out is for the account's own rules; requests are throttled and validated
  # checkov:skip=CKV2_AWS_51:clients have tokens, not certificates
  rest_api_id          = aws_api_gateway_rest_api.this.id
  deployment_id        = aws_api_gateway_deployment.this.id
  stage_name           = "live"
  xray_tracing_enabled = true
  tags                 = { Service = var.name }

  # Where requests go, and where they may be led: deploy/release reads that here.
  variables = merge(
    { target = var.targets[var.target] },
    { for name, address in var.targets : "target_${name}" => address },
  )

  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.access.arn
    format          = jsonencode(local.access_log)
  }

  depends_on = [var.gateway_logging]

  lifecycle {
    # From here on deploy/release leads the traffic: canary weights while a change is tried, `target` once
    # it is promoted. A canary is its to make, too: API Gateway deletes no deployment that a canary names,
    # so one that always stood here would be in the way of each change of the contract. In the description
    # it leaves word of what it did.
    ignore_changes = [canary_settings, description, variables["target"]]
  }
}

# Not an error: whoever promoted meant it. But the variable should come to say what is.
check "target" {
  assert {
    condition     = aws_api_gateway_stage.this.variables["target"] == var.targets[var.target]
    error_message = "${var.name}: routes says `${var.target}`, but the stage leads to ${aws_api_gateway_stage.this.variables["target"]}. deploy/release moves traffic; then set routes to what it did."
  }
}

resource "aws_api_gateway_method_settings" "all" {
  # checkov:skip=CKV_AWS_225:as the stage: services say what may be kept
  rest_api_id = aws_api_gateway_rest_api.this.id
  stage_name  = aws_api_gateway_stage.this.stage_name
  method_path = "*/*"

  settings {
    metrics_enabled        = true
    logging_level          = "ERROR"
    data_trace_enabled     = false # bodies and tokens stay out of logs
    throttling_rate_limit  = var.throttling.rate
    throttling_burst_limit = var.throttling.burst
  }
}

locals {
  # As the services' own access logs, where they say the same; never a query, a body or a token.
  access_log = {
    requestId        = "$context.requestId"
    traceId          = "$context.xrayTraceId"
    requestTime      = "$context.requestTimeEpoch"
    method           = "$context.httpMethod"
    route            = "$context.resourcePath"
    status           = "$context.status"
    responseLength   = "$context.responseLength"
    latencyMs        = "$context.responseLatency"
    integrationMs    = "$context.integrationLatency"
    integrationError = "$context.integration.error"
    error            = "$context.error.responseType"
    canary           = "$context.isCanaryRequest"
    sourceIp         = "$context.identity.sourceIp"
    userAgent        = "$context.identity.userAgent"
  }
}

resource "aws_cloudwatch_log_group" "access" {
  # checkov:skip=CKV_AWS_158:CloudWatch Logs encrypts by itself; a key of our own would be one more thing a log line needs (docs/adr/0111)
  name              = "/lyceum/gateway/${var.name}"
  retention_in_days = var.log_retention_days
  tags              = { Service = var.name }
}
