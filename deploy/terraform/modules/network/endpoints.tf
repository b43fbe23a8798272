# The ways out: to AWS's own services and only by principals of this account, to the tables and the
# bucket by name. What a task may do there is its role's to say; this is the second lock.

locals {
  # What tasks and the agent that starts them ask of each service.
  interface_endpoints = {
    "ecr.api" = [
      "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetAuthorizationToken", "ecr:GetDownloadUrlForLayer",
    ]
    "ecr.dkr" = [
      "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetAuthorizationToken", "ecr:GetDownloadUrlForLayer",
    ]
    "logs"           = ["logs:CreateLogStream", "logs:PutLogEvents"]
    "secretsmanager" = ["secretsmanager:GetSecretValue"]
    "sqs"            = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
    "xray"           = ["xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTraceSegments"]
  }
}

resource "aws_vpc_endpoint" "interface" {
  for_each = local.interface_endpoints

  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${var.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = [for subnet in aws_subnet.private : subnet.id]
  security_group_ids  = [aws_security_group.endpoints.id]
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = "*" }
      Action    = each.value
      Resource  = "*"
      Condition = { StringEquals = { "aws:PrincipalAccount" = var.account } }
    }]
  })
  tags = { Name = "lyceum-${each.key}" }
}

# The token issuer's keys are public and asked for without credentials, so no policy can name who asks.
resource "aws_vpc_endpoint" "issuer" {
  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${var.region}.cognito-idp"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = [for subnet in aws_subnet.private : subnet.id]
  security_group_ids  = [aws_security_group.endpoints.id]
  tags                = { Name = "lyceum-cognito-idp" }
}

resource "aws_vpc_endpoint" "dynamodb" {
  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${var.region}.dynamodb"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [aws_route_table.private.id]
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = "*" }
      Action = [
        "dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:ConditionCheckItem", "dynamodb:DeleteItem",
        "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem",
      ]
      Resource  = flatten([for arn in var.table_arns : [arn, "${arn}/index/*"]])
      Condition = { StringEquals = { "aws:PrincipalAccount" = var.account } }
    }]
  })
  tags = { Name = "lyceum-dynamodb" }
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [aws_route_table.private.id]
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { AWS = "*" }
        Action = [
          "s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject",
        ]
        Resource  = "${var.bucket_arn}/*"
        Condition = { StringEquals = { "aws:PrincipalAccount" = var.account } }
      },
      {
        # Where ECR keeps the layers of images; it hands out URLs that are signed by itself.
        Effect    = "Allow"
        Principal = { AWS = "*" }
        Action    = "s3:GetObject"
        Resource  = "arn:aws:s3:::prod-${var.region}-starport-layer-bucket/*"
      },
    ]
  })
  tags = { Name = "lyceum-s3" }
}

resource "aws_security_group" "endpoints" {
  name        = "lyceum-endpoints"
  description = "Interface endpoints: from tasks only; each service adds its own rule"
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "lyceum-endpoints" }
}
