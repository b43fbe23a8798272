variable "name" {
  description = "The service's folder."
  type        = string
}

variable "contract" {
  description = "The path of its openapi.yaml."
  type        = string
}

variable "published_operations" {
  description = "Paths for those who run the service that are published too: deploy/release looks at /version."
  type        = list(string)
  default     = ["/version"]
}

variable "user_pool" {
  description = "The user pool whose access tokens are taken."
  type        = string
}

variable "scopes" {
  description = "Scopes of which each of the pool's access tokens has at least one."
  type        = list(string)
}

variable "throttling" {
  description = "Requests a second, and at once, that are let through."
  type        = object({ rate = number, burst = number })
}

variable "cors_origins" {
  description = "Web origins that may call; the service itself says which."
  type        = list(string)
}

variable "link" {
  description = "The VPC link, the load balancer it leads to, and http or https."
  type        = object({ id = string, load_balancer_arn = string, scheme = string })
}

variable "targets" {
  description = "Where requests can be sent, host and port by name: `service` and perhaps `monolith` and `candidate`."
  type        = map(string)
}

variable "target" {
  description = "Which of the targets a new stage begins with."
  type        = string
}

variable "log_retention_days" {
  description = "How long access logs are kept."
  type        = number
}

variable "gateway_logging" {
  description = "The region's role for logs of API Gateway: a stage that logs is refused before there is one."
  type        = string
}
