# The user pool whose access tokens the services take. Users come from whoever registers them.

variable "region" {
  description = "The region, for the issuer's address."
  type        = string
}

variable "protected" {
  description = "Whether the pool refuses to be deleted."
  type        = bool
}

resource "aws_cognito_user_pool" "this" {
  name                     = "lyceum"
  deletion_protection      = var.protected ? "ACTIVE" : "INACTIVE"
  auto_verified_attributes = ["email"]

  admin_create_user_config {
    allow_admin_create_user_only = true
  }
  password_policy {
    minimum_length                   = 16
    require_lowercase                = true
    require_uppercase                = true
    require_numbers                  = true
    require_symbols                  = false
    temporary_password_validity_days = 3
  }
  account_recovery_setting {
    recovery_mechanism {
      name     = "verified_email"
      priority = 1
    }
  }
}

# The groups and scopes that libs/auth turns into permissions.
resource "aws_cognito_user_group" "this" {
  for_each = {
    authors = "May write courses and content"
    staff   = "May also see and change anybody's progress"
  }

  name         = each.key
  description  = each.value
  user_pool_id = aws_cognito_user_pool.this.id
}

locals {
  scopes = {
    catalog  = { write = "Write courses" }
    content  = { write = "Write content" }
    progress = { any = "See and change anybody's progress" }
  }
}

resource "aws_cognito_resource_server" "this" {
  for_each = local.scopes

  identifier   = each.key
  name         = each.key
  user_pool_id = aws_cognito_user_pool.this.id

  dynamic "scope" {
    for_each = each.value
    content {
      scope_name        = scope.key
      scope_description = scope.value
    }
  }
}

# Learners' and authors' apps: public programs, so no secret, and the password never leaves the device.
resource "aws_cognito_user_pool_client" "apps" {
  name                          = "lyceum-apps"
  user_pool_id                  = aws_cognito_user_pool.this.id
  generate_secret               = false
  explicit_auth_flows           = ["ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
  prevent_user_existence_errors = "ENABLED"
  enable_token_revocation       = true
  access_token_validity         = 1
  id_token_validity             = 1
  refresh_token_validity        = 30

  token_validity_units {
    access_token  = "hours"
    id_token      = "hours"
    refresh_token = "days"
  }
}

output "user_pool_id" {
  description = "The pool's id."
  value       = aws_cognito_user_pool.this.id
}

output "user_pool_arn" {
  description = "The pool, for API Gateway's authorizers."
  value       = aws_cognito_user_pool.this.arn
}

output "issuer" {
  description = "`iss` of the pool's tokens."
  value       = "https://cognito-idp.${var.region}.amazonaws.com/${aws_cognito_user_pool.this.id}"
}

output "client_ids" {
  description = "Whose tokens are taken."
  value       = [aws_cognito_user_pool_client.apps.id]
}

output "access_token_scopes" {
  description = "Scopes of which each of the pool's access tokens has one: its own for users, ours for programs."
  value = concat(
    ["aws.cognito.signin.user.admin"],
    flatten([for server, scopes in local.scopes : [for scope in keys(scopes) : "${server}/${scope}"]]),
  )
}
