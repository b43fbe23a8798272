# Lyceum on AWS. Each service has its own API, load balancer listener, tasks, roles, security group,
# table and dashboard; what they share is a network, a cluster, a user pool and one bucket.
#
#   API Gateway (one REST API a service)
#     -> VPC link -> load balancer (one listener a service) -> ECS service -> its DynamoDB table
#   catalog's table stream -> pipe -> topic -> queue -> progress tracking's consumer

data "aws_caller_identity" "current" {}

locals {
  account = data.aws_caller_identity.current.account_id
  sources = "${path.root}/../../services"

  # The services that answer requests: what their variables begin with, and where they listen on the
  # load balancer. Names are those of their folders.
  services = {
    course_catalog    = { prefix = "CATALOG_", port = 8001 }
    content_delivery  = { prefix = "CONTENT_", port = 8002 }
    progress_tracking = { prefix = "PROGRESS_", port = 8003 }
  }
  consumer      = "progress_tracking-consumer"
  monolith_port = 8000
  # A candidate listens at its service's port and so many more.
  candidate_ports = 100

  # The table that the monolith leaves, and whether it is being split.
  monolith_tables = var.monolith == null ? [] : ["arn:aws:dynamodb:${var.region}:${local.account}:table/${var.monolith.table_name}"]
  splitting       = try(var.monolith.split, false)

  # What each service is told besides what all are told.
  own_environment = {
    course_catalog   = {}
    content_delivery = { CONTENT_BUCKET = module.bucket.name }
    # The queue too: both programs of the image take the same variables.
    progress_tracking = { PROGRESS_OUTLINE_QUEUE_URL = module.events.queue_url }
  }
  # Each on its own signal.
  scaling = {
    course_catalog    = { requests_per_task = var.requests_per_task["course_catalog"] }
    content_delivery  = { cpu_percent = 60 }
    progress_tracking = { requests_per_task = var.requests_per_task["progress_tracking"] }
  }
  # What the names in services/*/policy.json stand for; the local platform fills in its own.
  arns = {
    for name in keys(local.services) : name => {
      table_arn  = module.table[name].arn
      bucket_arn = module.bucket.arn
      queue_arn  = module.events.queue_arn
    }
  }
  authentication = {
    AUTH_ISSUER     = module.identity.issuer
    AUTH_JWKS_URL   = coalesce(var.jwks_url, "${module.identity.issuer}/.well-known/jwks.json")
    AUTH_CLIENT_IDS = join(",", module.identity.client_ids)
  }
  environment = {
    for name, service in local.services : name => merge(
      { AWS_REGION = var.region },
      { for key, value in local.authentication : "${service.prefix}${key}" => value },
      { "${service.prefix}TABLE" = module.table[name].name },
      { for origins in compact([join(",", var.cors_origins)]) : "${service.prefix}CORS_ORIGINS" => origins },
      local.own_environment[name],
    )
  }
}

module "network" {
  source = "./modules/network"

  cidr_block         = var.cidr_block
  availability_zones = var.availability_zones
  region             = var.region
  account            = local.account
  bucket_arn         = module.bucket.arn
  table_arns         = concat([for table in module.table : table.arn], local.monolith_tables, module.control_table[*].arn)
  log_retention_days = var.log_retention_days
  protected          = var.protected
}

module "identity" {
  source = "./modules/identity"

  region    = var.region
  protected = var.protected
}

module "registry" {
  source = "./modules/registry"

  names = concat(keys(local.services), ["collector"], var.monolith == null ? [] : ["monolith"])
}

module "table" {
  source   = "./modules/table"
  for_each = local.services

  definition = "${local.sources}/${each.key}/table.json"
  protected  = var.protected
  tags       = { Service = each.key }
}

module "bucket" {
  source = "./modules/bucket"

  name         = var.bucket_name
  cors_origins = var.cors_origins
  protected    = var.protected
  tags         = { Service = "content_delivery" }
}

# How progress tracking learns the outlines of courses.
module "events" {
  source = "./modules/events"

  account    = local.account
  stream_arn = module.table["course_catalog"].stream_arn
  alarms     = module.observability.alarms
  tags       = { Service = "progress_tracking" }
}

resource "aws_ecs_cluster" "lyceum" {
  name = "lyceum"

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

module "service" {
  source   = "./modules/service"
  for_each = local.services

  name        = each.key
  prefix      = each.value.prefix
  image       = "${module.registry.urls[each.key]}@${var.image_digests[each.key]}"
  repository  = module.registry.arns[each.key]
  environment = local.environment[each.key]
  policy      = templatefile("${local.sources}/${each.key}/policy.json", local.arns[each.key])
  size        = var.sizes[each.key]
  scaling     = local.scaling[each.key]
  listener    = { port = each.value.port, health_check_path = "/readyz", certificate_arn = try(var.certificate.arn, null) }
  platform    = local.platform
}

# The second program of progress tracking's image: no requests, a role of its own.
module "consumer" {
  source = "./modules/service"

  name          = local.consumer
  service       = "progress_tracking"
  prefix        = "PROGRESS_"
  image         = "${module.registry.urls["progress_tracking"]}@${var.image_digests["progress_tracking"]}"
  repository    = module.registry.arns["progress_tracking"]
  command       = ["services.progress_tracking.consumer"]
  environment   = local.environment["progress_tracking"]
  cursor_secret = { arn = module.service["progress_tracking"].cursor_secret_arn }
  policy        = templatefile("${local.sources}/progress_tracking/consumer/policy.json", local.arns["progress_tracking"])
  size          = var.sizes[local.consumer]
  scaling       = { backlog_per_task = 100, queue_name = module.events.queue_name }
  platform      = local.platform
}

# Another version of a service beside it, for as long as it is tried: the same but for its image, with a
# listener of its own that a canary leads to.
module "candidate" {
  source   = "./modules/service"
  for_each = { for name, digest in var.candidates : name => merge(local.services[name], { digest = digest }) }

  name          = "${each.key}-candidate"
  service       = each.key
  prefix        = each.value.prefix
  image         = "${module.registry.urls[each.key]}@${each.value.digest}"
  repository    = module.registry.arns[each.key]
  environment   = local.environment[each.key]
  cursor_secret = { arn = module.service[each.key].cursor_secret_arn }
  policy        = templatefile("${local.sources}/${each.key}/policy.json", local.arns[each.key])
  size          = merge(var.sizes[each.key], { minimum = 1 }) # deploy/release adds what each step needs
  scaling       = local.scaling[each.key]
  listener      = { port = each.value.port + local.candidate_ports, health_check_path = "/readyz", certificate_arn = try(var.certificate.arn, null) }
  platform      = local.platform
}

# The application that one leaves, behind the same APIs until each of them has moved. While its table is
# split it uses the services' tables too, so it may do what each of them may, and asks who owns a module.
module "monolith" {
  source = "./modules/service"
  count  = var.monolith == null ? 0 : 1

  name        = "monolith"
  prefix      = "MONOLITH_"
  image       = "${module.registry.urls["monolith"]}@${var.image_digests["monolith"]}"
  repository  = module.registry.arns["monolith"]
  environment = merge({ AWS_REGION = var.region, MONOLITH_TABLE = var.monolith.table_name }, var.monolith.environment)
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid    = "TheTableThatIsSplit"
        Effect = "Allow"
        Action = [
          "dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:ConditionCheckItem", "dynamodb:DeleteItem",
          "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem",
        ]
        Resource = flatten([for arn in local.monolith_tables : [arn, "${arn}/index/*"]])
      }],
      [for arn in module.control_table[*].arn : {
        Sid      = "WhoOwnsAModule"
        Effect   = "Allow"
        Action   = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"]
        Resource = arn
      }],
      flatten([
        for name in keys(local.services) :
        jsondecode(templatefile("${local.sources}/${name}/policy.json", local.arns[name])).Statement
      ]),
    )
  })
  size     = { cpu = var.monolith.cpu, memory = var.monolith.memory, minimum = var.monolith.minimum, maximum = var.monolith.maximum, spot_share = 0 }
  scaling  = { cpu_percent = 60 }
  listener = { port = local.monolith_port, health_check_path = var.monolith.health_check_path, container_check = false, certificate_arn = try(var.certificate.arn, null) }
  platform = local.platform
}

# While the monolith's table is split: what deploy/migration coordinates itself by, and the role of those
# who run its commands and workers.
module "control_table" {
  source = "./modules/table"
  count  = local.splitting ? 1 : 0

  definition = "${path.root}/../migration/control_table.json"
  protected  = var.protected
  tags       = { Service = "monolith" }
}

module "migration" {
  source = "./modules/operator"
  count  = local.splitting && length(var.operators) > 0 ? 1 : 0

  name      = "migration"
  purpose   = "Splits the monolith's table: deploy/migration"
  account   = local.account
  operators = var.operators
  # The document speaks of one table; each statement's name is to be one of a kind.
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      for position, one in distinct(flatten([
        for arn in concat(local.monolith_tables, [for table in module.table : table.arn]) :
        jsondecode(templatefile("${path.root}/../migration/policy.json", { table_arn = arn, control_arn = module.control_table[0].arn })).Statement
      ])) : merge(one, { Sid = "${one.Sid}${position}" })
    ]
  })
}

module "api" {
  source   = "./modules/api"
  for_each = local.services

  name         = each.key
  contract     = "${local.sources}/${each.key}/openapi.yaml"
  user_pool    = module.identity.user_pool_arn
  scopes       = module.identity.access_token_scopes
  throttling   = var.throttling
  cors_origins = var.cors_origins
  link         = { id = module.network.vpc_link_id, load_balancer_arn = module.network.load_balancer_arn, scheme = var.certificate == null ? "http" : "https" }
  target       = lookup(var.routes, each.key, "service")
  targets = merge(
    { service = "${local.load_balancer_host}:${each.value.port}" },
    { for _ in module.monolith : "monolith" => "${local.load_balancer_host}:${local.monolith_port}" },
    {
      for name in keys(var.candidates) : "candidate" => "${local.load_balancer_host}:${each.value.port + local.candidate_ports}"
      if name == each.key
    },
  )
  log_retention_days = var.log_retention_days
  gateway_logging    = module.observability.gateway_logging
}

module "operator" {
  source = "./modules/operator"
  count  = length(var.operators) == 0 ? 0 : 1

  name      = "operator"
  purpose   = "Releases the services: deploy/release"
  account   = local.account
  operators = var.operators
  # It stands with the local platform, whose operator has the same.
  policy = templatefile("${path.root}/../local/policies/operator.json", merge(
    { region = var.region, account = local.account },
    { for name, api in module.api : "${name}_api" => api.id },
  ))
}

module "observability" {
  source = "./modules/observability"

  region  = var.region
  cluster = aws_ecs_cluster.lyceum.name
  services = {
    for name in keys(local.services) : name => {
      table         = module.table[name].name
      api           = module.api[name].name
      stage         = module.api[name].stage
      load_balancer = module.network.load_balancer_metric_name
      target_group  = module.service[name].target_group_metric_name
      log_group     = module.service[name].log_group
    }
  }
  consumer = {
    name   = local.consumer
    queue  = module.events.queue_name
    parked = module.events.parked_queue_name
    pipe   = module.events.pipe_name
  }
  tracing  = var.tracing
  emails   = var.alarm_emails
  runbooks = var.runbooks
  account  = local.account
}

locals {
  # What every task needs of what is shared.
  platform = {
    region             = var.region
    account            = local.account
    cluster_arn        = aws_ecs_cluster.lyceum.arn
    cluster_name       = aws_ecs_cluster.lyceum.name
    collector_image    = "${module.registry.urls["collector"]}@${var.image_digests["collector"]}"
    collector_arn      = module.registry.arns["collector"]
    tracing_rate       = var.tracing.rate
    network            = module.network
    alarms             = module.observability.alarms
    log_retention_days = var.log_retention_days
  }
  # The name that requests to the load balancer carry; the VPC link finds it by its ARN.
  load_balancer_host = var.certificate == null ? module.network.load_balancer_host : var.certificate.host
}
