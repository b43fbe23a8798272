# A service's table, read from its table.json: what CreateTable takes, plus TimeToLive. The local
# platform and the tests read the same file, so the schema exists once.

variable "definition" {
  description = "The path of a table.json."
  type        = string
}

variable "protected" {
  description = "Whether the table refuses to be deleted."
  type        = bool
}

variable "tags" {
  description = "Tags of the table."
  type        = map(string)
}

locals {
  table  = jsondecode(file(var.definition))
  keys   = { for key in local.table.KeySchema : key.KeyType => key.AttributeName }
  stream = lookup(local.table, "StreamSpecification", { StreamEnabled = false, StreamViewType = null })
}

resource "aws_dynamodb_table" "this" {
  # checkov:skip=CKV_AWS_119:DynamoDB encrypts by itself; a key of our own would be one more thing each read needs (docs/adr/0111)
  name             = local.table.TableName
  billing_mode     = local.table.BillingMode
  hash_key         = local.keys["HASH"]
  range_key        = lookup(local.keys, "RANGE", null)
  stream_enabled   = local.stream.StreamEnabled
  stream_view_type = local.stream.StreamViewType

  deletion_protection_enabled = var.protected

  tags = var.tags

  dynamic "attribute" {
    for_each = local.table.AttributeDefinitions
    content {
      name = attribute.value.AttributeName
      type = attribute.value.AttributeType
    }
  }

  dynamic "global_secondary_index" {
    for_each = lookup(local.table, "GlobalSecondaryIndexes", [])
    iterator = index
    content {
      name               = index.value.IndexName
      hash_key           = one([for key in index.value.KeySchema : key.AttributeName if key.KeyType == "HASH"])
      range_key          = one([for key in index.value.KeySchema : key.AttributeName if key.KeyType == "RANGE"])
      projection_type    = index.value.Projection.ProjectionType
      non_key_attributes = lookup(index.value.Projection, "NonKeyAttributes", null)
    }
  }

  dynamic "ttl" {
    for_each = [for ttl in [lookup(local.table, "TimeToLive", null)] : ttl if ttl != null]
    content {
      enabled        = true
      attribute_name = ttl.value.AttributeName
    }
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled = false # false is DynamoDB's own key, not none
  }
}

output "name" {
  description = "The table's name."
  value       = aws_dynamodb_table.this.name
}

output "arn" {
  description = "The table."
  value       = aws_dynamodb_table.this.arn
}

output "stream_arn" {
  description = "The table's stream; empty where it has none."
  value       = aws_dynamodb_table.this.stream_arn
}
