# One image repository a service. A tag says the same for ever, and what runs is named by digest anyway.

variable "names" {
  description = "The services, and whatever else runs in their tasks."
  type        = set(string)
}

resource "aws_ecr_repository" "this" {
  # checkov:skip=CKV_AWS_136:images hold no secret, and ECR encrypts by itself (docs/adr/0111)
  for_each = var.names

  name                 = "lyceum/${each.key}"
  image_tag_mutability = "IMMUTABLE"
  tags                 = { Service = each.key }

  image_scanning_configuration {
    scan_on_push = true
  }
}

# Rolling back needs images of some time ago, but not of all time.
resource "aws_ecr_lifecycle_policy" "this" {
  for_each = aws_ecr_repository.this

  repository = each.value.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Keep the newest 100 images"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 100 }
      action       = { type = "expire" }
    }]
  })
}

output "urls" {
  description = "The address of each repository."
  value       = { for name, repository in aws_ecr_repository.this : name => repository.repository_url }
}

output "arns" {
  description = "The ARN of each repository."
  value       = { for name, repository in aws_ecr_repository.this : name => repository.arn }
}
