# A role for people: it may do one kind of work and nothing else, and operators may take it.

variable "name" {
  description = "The role's name is this after `lyceum-`."
  type        = string
}

variable "purpose" {
  description = "What the role is for, as IAM shows it."
  type        = string
}

variable "policy" {
  description = "The policy document of what that work needs."
  type        = string
}

variable "account" {
  description = "The account, whose principals alone may take the role."
  type        = string
}

variable "operators" {
  description = "Users and roles of the account that may take it, as the ends of their ARNs; * and ? may stand in them."
  type        = list(string)
}

resource "aws_iam_role" "this" {
  name        = "lyceum-${var.name}"
  description = var.purpose
  # Longer than a canary is watched; a role that is taken from another role's session ends after an hour.
  max_session_duration = 4 * 3600
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::${var.account}:root" }
      Action    = "sts:AssumeRole"
      Condition = {
        ArnLike = { "aws:PrincipalArn" = [for one in var.operators : "arn:aws:iam::${var.account}:${one}"] }
      }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  name   = var.name
  role   = aws_iam_role.this.id
  policy = var.policy
}

output "arn" {
  description = "The role that the work is done with."
  value       = aws_iam_role.this.arn
}
