# The service's contract as API Gateway takes it: the same routes, with integrations, authorizer and
# validation; without what it does not know.
#
# - Answers are left out: they pass as they are, and the service serves its contract itself.
# - Of parameters it looks at presence alone. Headers are left to the service, whose answers to a missing
#   one differ (428, not 400).
# - A body is validated where its schema has nothing that API Gateway reads differently than OpenAPI:
#   it knows no `nullable`, and would refuse what the service takes.

locals {
  contract = yamldecode(file(var.contract))

  # What operators see of a service (tag `operations`) is not for the world, but for the version.
  published = {
    for path, item in local.contract.paths : path => item
    if contains(var.published_operations, path) || !alltrue([for operation in item : contains(operation.tags, "operations")])
  }

  # Every GET answers HEAD too, whether or not the contract spells it out.
  operations = {
    for path, item in local.published : path => merge(
      { for method, operation in item : "head" => operation if method == "get" },
      { for method, operation in item : method => operation },
    )
  }

  schemas = local.contract.components.schemas
  # Which schemas each one needs, itself included: by one step, two, four, eight.
  needs_1 = {
    for name, schema in local.schemas :
    name => distinct(concat([name], [for found in regexall("#/components/schemas/([A-Za-z0-9]+)", jsonencode(schema)) : found[0]]))
  }
  needs_2 = { for name, needed in local.needs_1 : name => distinct(flatten([for other in needed : local.needs_1[other]])) }
  needs_4 = { for name, needed in local.needs_2 : name => distinct(flatten([for other in needed : local.needs_2[other]])) }
  needs   = { for name, needed in local.needs_4 : name => distinct(flatten([for other in needed : local.needs_4[other]])) }
  alike = {
    for name, needed in local.needs : name => !anytrue([
      for other in needed :
      strcontains(jsonencode(local.schemas[other]), "\"nullable\":true") || can(regex("\"(oneOf|anyOf|discriminator)\":", jsonencode(local.schemas[other])))
    ])
  }

  # Of each operation with a body that is validated, its media type and schema.
  validated = merge([
    for path, item in local.operations : merge([
      for method, operation in item : {
        for media, content in try(operation.requestBody.content, {}) :
        "${method} ${path}" => { media = media, schema = split("/", content.schema["$ref"])[3] }
        if can(content.schema["$ref"]) && local.alike[try(split("/", content.schema["$ref"])[3], keys(local.alike)[0])]
      }
    ]...)
  ]...)
  models = toset(flatten([for body in local.validated : local.needs[body.schema]]))

  authorizer = "accessToken"

  paths = {
    for path, item in local.operations : path => merge(
      {
        for method, operation in item : method => merge(
          {
            parameters = [
              for parameter in try(operation.parameters, []) : {
                name     = parameter.name
                in       = parameter.in
                required = try(parameter.required, false)
                schema   = { type = "string" }
              } if parameter.in != "header"
            ]
            # No list: the contract's own. An empty one: whoever asks.
            security  = [for scheme in try(operation.security, local.contract.security) : { (local.authorizer) = var.scopes }]
            responses = { default = { description = "The service's answer" } }

            "x-amazon-apigateway-request-validator" = contains(keys(local.validated), "${method} ${path}") ? "everything" : "parameters"
            "x-amazon-apigateway-integration" = merge(local.integration, {
              httpMethod = upper(method)
              uri        = "${var.link.scheme}://$${stageVariables.target}${path}"
              requestParameters = {
                for parameter in try(operation.parameters, []) :
                "integration.request.path.${parameter.name}" => "method.request.path.${parameter.name}" if parameter.in == "path"
              }
            })
          },
          {
            for key, body in local.validated : "requestBody" => {
              required = true
              content  = { (body.media) = { schema = { "$ref" = "#/components/schemas/${body.schema}" } } }
            } if key == "${method} ${path}"
          },
        )
      },
      # A browser asks before it calls, without a token; the service knows which origins may.
      {
        for _ in slice([1], 0, min(1, length(var.cors_origins))) : "options" => {
          parameters = [
            for name in distinct([for found in regexall("\\{([A-Za-z0-9]+)\\}", path) : found[0]]) :
            { name = name, in = "path", required = true, schema = { type = "string" } }
          ]
          security  = []
          responses = { default = { description = "The service's answer" } }

          "x-amazon-apigateway-integration" = merge(local.integration, {
            httpMethod = "OPTIONS"
            uri        = "${var.link.scheme}://$${stageVariables.target}${path}"
            requestParameters = {
              for found in regexall("\\{([A-Za-z0-9]+)\\}", path) :
              "integration.request.path.${found[0]}" => "method.request.path.${found[0]}"
            }
          })
        }
      },
    )
  }

  integration = {
    type                = "http_proxy"
    connectionType      = "VPC_LINK"
    connectionId        = var.link.id
    integrationTarget   = var.link.load_balancer_arn # what a link of the second kind needs
    passthroughBehavior = "when_no_match"
    timeoutInMillis     = 29000 # above the longest that a service lets a request take
  }

  body = {
    openapi = local.contract.openapi
    info    = { title = local.contract.info.title, version = local.contract.info.version }
    paths   = local.paths
    components = {
      schemas = { for name in local.models : name => local.schemas[name] }
      securitySchemes = {
        (local.authorizer) = {
          type = "apiKey" # API Gateway's way to name the header
          name = "Authorization"
          in   = "header"

          "x-amazon-apigateway-authtype" = "cognito_user_pools"
          "x-amazon-apigateway-authorizer" = {
            type         = "cognito_user_pools"
            providerARNs = [var.user_pool]
          }
        }
      }
    }
    "x-amazon-apigateway-request-validators" = {
      everything = { validateRequestParameters = true, validateRequestBody = true }
      parameters = { validateRequestParameters = true, validateRequestBody = false }
    }
    "x-amazon-apigateway-gateway-responses" = local.gateway_responses
  }
}
