variable "name" {
  description = "The ECS service and its task definition's family: the service's folder, or that and the program."
  type        = string
}

variable "service" {
  description = "The service that metrics and tags name, where one of its programs has a name of its own."
  type        = string
  default     = null
}

variable "prefix" {
  description = "What the service's environment variables begin with."
  type        = string
}

variable "image" {
  description = "The image, by digest."
  type        = string
}

variable "repository" {
  description = "The ARN of the image's repository."
  type        = string
}

variable "command" {
  description = "What the image's entry point runs, if not the image's own command."
  type        = list(string)
  default     = null
}

variable "environment" {
  description = "The service's environment variables, but for those that each task has."
  type        = map(string)
}

variable "cursor_secret" {
  description = "The secret of another program of the same service; null: this one has its own."
  type        = object({ arn = string })
  default     = null
}

variable "policy" {
  description = "The policy document of what the service's repository does on AWS."
  type        = string
}

variable "size" {
  description = "CPU units and MiB of a task, tasks at least and at most, percent of them that may run on Spot."
  type = object({
    cpu        = number
    memory     = number
    minimum    = number
    maximum    = number
    spot_share = number
  })
}

variable "scaling" {
  description = "The signal that tasks are added on: requests a minute, CPU in percent, or messages that wait, for each task."
  type = object({
    requests_per_task = optional(number)
    cpu_percent       = optional(number)
    backlog_per_task  = optional(number)
    queue_name        = optional(string)
  })
}

variable "listener" {
  description = "The load balancer's port for this service, its health check and certificate; null: it answers no requests."
  type = object({
    port              = number
    health_check_path = string
    certificate_arn   = optional(string)
    # Whether the image has libs.health_check, as this repository's images have.
    container_check = optional(bool, true)
  })
  default = null
}

variable "platform" {
  description = "What every task needs of what is shared."
  type = object({
    region             = string
    account            = string
    cluster_arn        = string
    cluster_name       = string
    collector_image    = string
    collector_arn      = string
    tracing_rate       = number
    alarms             = object({ topic_arn = string, runbooks = string })
    log_retention_days = number
    network = object({
      vpc_id                          = string
      subnet_ids                      = list(string)
      endpoints_security_group_id     = string
      prefix_list_ids                 = object({ dynamodb = string, s3 = string })
      link_security_group_id          = string
      load_balancer_arn               = string
      load_balancer_metric_name       = string
      load_balancer_security_group_id = string
    })
  })
}
