output "apis" {
  description = "Of each service: its API and stage, its address, and where its traffic can be led, for deploy/release."
  value = {
    for name, api in module.api : name => {
      rest_api_id = api.id
      stage       = api.stage
      url         = api.url
      targets     = api.targets
    }
  }
}

output "repositories" {
  description = "The image repository of each service."
  value       = module.registry.urls
}

output "cluster" {
  description = "The ECS cluster."
  value       = aws_ecs_cluster.lyceum.name
}

output "operator_role" {
  description = "The role that deploy/release is run with; null where nobody may."
  value       = one(module.operator[*].arn)
}

output "migration_role" {
  description = "The role that deploy/migration is run with, commands and workers; null where no table is split."
  value       = one(module.migration[*].arn)
}

output "user_pool" {
  description = "The user pool's id, its issuer and its app client."
  value = {
    id         = module.identity.user_pool_id
    issuer     = module.identity.issuer
    client_ids = module.identity.client_ids
  }
}

output "dashboards" {
  description = "The names of the CloudWatch dashboards."
  value       = module.observability.dashboards
}
