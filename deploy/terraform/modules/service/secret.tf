# What signs cursors. Made by Secrets Manager and put there without passing through plan or state; later
# values (the new one first, then the old one) are the operator's to put: README.md, "Secrets".

resource "aws_secretsmanager_secret" "cursors" {
  # checkov:skip=CKV_AWS_149:Secrets Manager encrypts by itself, and who may read it is said by name (docs/adr/0111)
  # checkov:skip=CKV2_AWS_57:a new value must keep the old one beside it for as long as cursors live; rotation would drop it
  count = local.own_secret ? 1 : 0

  name                    = "lyceum/${var.name}/cursor-secrets"
  description             = "Signs the cursors of ${var.name}; comma separated, the first signs, all verify"
  recovery_window_in_days = 7
  tags                    = local.tags
}

ephemeral "aws_secretsmanager_random_password" "cursors" {
  count = local.own_secret ? 1 : 0

  password_length     = 64
  exclude_punctuation = true # a comma would make two of it
}

resource "aws_secretsmanager_secret_version" "cursors" {
  count = local.own_secret ? 1 : 0

  secret_id                = aws_secretsmanager_secret.cursors[0].id
  secret_string_wo         = ephemeral.aws_secretsmanager_random_password.cursors[0].random_password
  secret_string_wo_version = 1
}

locals {
  cursor_secret_arn = local.own_secret ? aws_secretsmanager_secret.cursors[0].arn : var.cursor_secret.arn
}
