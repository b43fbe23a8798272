# Who releases: a role that rolls services to images and leads their traffic, and can do nothing else. Its
# policy stands with the local platform, whose operator has the same; deploy/release needs just that.

variable "policy" {
  description = "The policy document of what deploy/release does."
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
  name        = "lyceum-operator"
  description = "Releases the services: deploy/release"
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

resource "aws_iam_role_policy" "release" {
  name   = "release"
  role   = aws_iam_role.this.id
  policy = var.policy
}

output "arn" {
  description = "The role."
  value       = aws_iam_role.this.arn
}
