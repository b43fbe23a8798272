variable "region" {
  description = "The region that dashboards look at."
  type        = string
}

variable "account" {
  description = "The account, for whom roles may be taken and topics written to."
  type        = string
}

variable "cluster" {
  description = "The ECS cluster."
  type        = string
}

variable "services" {
  description = "Of each service that answers requests, by the name in its metrics: where else it is seen."
  type = map(object({
    table         = string
    api           = string
    stage         = string
    load_balancer = string
    target_group  = string
    log_group     = string
  }))
}

variable "consumer" {
  description = "The consumer of outlines, its queue and dead letters, and the pipe before them."
  type        = object({ name = string, queue = string, parked = string, pipe = string })
}

variable "tracing" {
  description = "Share of requests that are sampled of each service, and how many a second at least."
  type        = object({ rate = number, reservoir = number })
}

variable "emails" {
  description = "Who is told of alarms."
  type        = list(string)
}

variable "runbooks" {
  description = "What the links to docs/runbooks begin with."
  type        = string
}
