# What the gateway itself answers: problems as the services' own (RFC 9457) with codes of the contracts,
# so that clients need to know one form. Only 429 is its alone: no service throttles.

locals {
  own_answers = {
    UNAUTHORIZED                   = { status = 401, title = "Unauthorized", code = "authentication_required" }
    ACCESS_DENIED                  = { status = 403, title = "Forbidden", code = "forbidden" }
    MISSING_AUTHENTICATION_TOKEN   = { status = 404, title = "Not Found", code = "not_found" } # a path or method that is not there
    RESOURCE_NOT_FOUND             = { status = 404, title = "Not Found", code = "not_found" }
    BAD_REQUEST_PARAMETERS         = { status = 400, title = "Bad Request", code = "invalid_query" }
    BAD_REQUEST_BODY               = { status = 422, title = "Unprocessable Entity", code = "invalid_body" }
    REQUEST_TOO_LARGE              = { status = 413, title = "Content Too Large", code = "body_too_large" }
    THROTTLED                      = { status = 429, title = "Too Many Requests", code = "too_many_requests" }
    INTEGRATION_FAILURE            = { status = 503, title = "Service Unavailable", code = "dependency_unavailable" }
    INTEGRATION_TIMEOUT            = { status = 503, title = "Service Unavailable", code = "deadline_exceeded" }
    AUTHORIZER_FAILURE             = { status = 503, title = "Service Unavailable", code = "dependency_unavailable" }
    AUTHORIZER_CONFIGURATION_ERROR = { status = 500, title = "Internal Server Error", code = "internal_error" }
    API_CONFIGURATION_ERROR        = { status = 500, title = "Internal Server Error", code = "internal_error" }
    DEFAULT_4XX                    = { status = null, title = "Bad Request", code = "malformed_request" }
    DEFAULT_5XX                    = { status = null, title = "Internal Server Error", code = "internal_error" }
  }

  gateway_responses = {
    for type, answer in local.own_answers : type => merge(
      { for status in [answer.status] : "statusCode" => status if status != null },
      {
        responseParameters = merge(
          {
            "gatewayresponse.header.Content-Type"  = "'application/problem+json'"
            "gatewayresponse.header.Cache-Control" = "'no-store'"
          },
          { for _ in [1] : "gatewayresponse.header.WWW-Authenticate" => "'Bearer'" if answer.status == 401 },
          { for _ in [1] : "gatewayresponse.header.Retry-After" => "'1'" if contains([429, 503], coalesce(answer.status, 0)) },
          # It can't look an origin up, and an error says nothing that others must not read.
          { for _ in [1] : "gatewayresponse.header.Access-Control-Allow-Origin" => "'*'" if length(var.cors_origins) > 0 },
        )
        responseTemplates = {
          "application/json" = join("", [
            "{\"type\":\"https://lyceum.example/problems/${answer.code}\",\"title\":\"${answer.title}\",",
            "\"status\":${answer.status == null ? "$context.status" : answer.status},",
            "\"detail\":$context.error.messageString,\"instance\":\"$context.path\",",
            "\"code\":\"${answer.code}\",\"requestId\":\"$context.requestId\"}",
          ])
        }
      },
    )
  }
}
