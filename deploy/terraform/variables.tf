# What differs between environments, and nothing else. `environments/` holds a file for each; digests
# come from deploy/release.

variable "environment" {
  description = "The environment's name. Each environment is an account of its own: names are the same in all."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,15}$", var.environment))
    error_message = "environment is 2 to 16 lower-case letters, digits or hyphens, a letter first."
  }
}

variable "region" {
  description = "The region everything stands in."
  type        = string
  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region is one such as eu-central-1."
  }
}

variable "cost_centre" {
  description = "Whom the bill is for: the tag CostCentre of everything."
  type        = string
  validation {
    condition     = can(regex("^[A-Za-z0-9 _.:/=+@-]{1,64}$", var.cost_centre))
    error_message = "cost_centre is 1 to 64 characters that a tag may have."
  }
}

variable "cidr_block" {
  description = "The network's addresses, a /16 to /20."
  type        = string
  validation {
    condition = (
      can(cidrnetmask(var.cidr_block))
      && try(tonumber(split("/", var.cidr_block)[1]) >= 16 && tonumber(split("/", var.cidr_block)[1]) <= 20, false)
    )
    error_message = "cidr_block is an IPv4 network from /16 to /20, such as 10.40.0.0/16."
  }
}

variable "availability_zones" {
  description = "The zones that tasks and endpoints are spread over: two or more of the region's."
  type        = list(string)
  validation {
    condition = (
      length(var.availability_zones) >= 2 && length(var.availability_zones) <= 6
      && length(distinct(var.availability_zones)) == length(var.availability_zones)
      && alltrue([for zone in var.availability_zones : startswith(zone, var.region)])
    )
    error_message = "availability_zones are two to six different zones of the region."
  }
}

variable "image_digests" {
  description = "The digest of each image in its repository, by the service's folder (and `collector`, `monolith`)."
  type        = map(string)
  validation {
    condition = alltrue([
      for name in ["course_catalog", "content_delivery", "progress_tracking", "collector"] :
      contains(keys(var.image_digests), name)
    ])
    error_message = "image_digests needs course_catalog, content_delivery, progress_tracking and collector."
  }
  validation {
    condition     = alltrue([for digest in values(var.image_digests) : can(regex("^sha256:[0-9a-f]{64}$", digest))])
    error_message = "image_digests are digests (sha256:…), never tags: a tag may be moved."
  }
}

variable "sizes" {
  description = "CPU units and MiB of a task, tasks at least and at most, and the share in percent that may run on Fargate Spot; of each service, by its ECS name."
  type = map(object({
    cpu        = number
    memory     = number
    minimum    = number
    maximum    = number
    spot_share = optional(number, 0)
  }))
  validation {
    condition = alltrue([
      for name in ["course_catalog", "content_delivery", "progress_tracking", "progress_tracking-consumer"] :
      contains(keys(var.sizes), name)
    ])
    error_message = "sizes needs course_catalog, content_delivery, progress_tracking and progress_tracking-consumer."
  }
  validation {
    condition = alltrue([
      for size in values(var.sizes) :
      contains([256, 512, 1024, 2048, 4096, 8192, 16384], size.cpu) && size.memory >= 2 * size.cpu && size.memory <= 8 * size.cpu
    ])
    error_message = "sizes are Fargate's: cpu 256 to 16384 in powers of two, memory two to eight times as many MiB."
  }
  validation {
    condition = alltrue([
      for size in values(var.sizes) :
      size.minimum >= 1 && size.minimum <= size.maximum && size.maximum <= 1000 && size.spot_share >= 0 && size.spot_share <= 100
    ])
    error_message = "sizes have 1 <= minimum <= maximum <= 1000 and a spot_share from 0 to 100."
  }
}

variable "requests_per_task" {
  description = "Requests a minute that one task of a service is to get; above it the service scales out."
  type        = map(number)
  validation {
    condition     = alltrue([for name in ["course_catalog", "progress_tracking"] : try(var.requests_per_task[name] >= 1, false)])
    error_message = "requests_per_task needs course_catalog and progress_tracking, each at least 1."
  }
}

variable "throttling" {
  description = "Requests a second, and at once, that each service's API lets through."
  type        = object({ rate = number, burst = number })
  validation {
    condition     = var.throttling.rate >= 1 && var.throttling.rate <= 10000 && var.throttling.burst >= 1 && var.throttling.burst <= 5000
    error_message = "throttling is within an account's own limits: rate 1 to 10000, burst 1 to 5000."
  }
}

variable "cors_origins" {
  description = "Web origins whose pages may call the APIs and reach content in the bucket."
  type        = list(string)
  validation {
    condition     = alltrue([for origin in var.cors_origins : can(regex("^https://[A-Za-z0-9.-]+(:[0-9]+)?$", origin))])
    error_message = "cors_origins are origins such as https://app.example.org: https, no path, no wildcard."
  }
}

variable "bucket_name" {
  description = "The name of the content bucket; all of AWS shares one space of names."
  type        = string
  validation {
    # No dots: they would not fit the wildcard of S3's certificate, and URLs name the bucket as a host.
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "bucket_name is 3 to 63 lower-case letters, digits and hyphens."
  }
}

variable "certificate" {
  description = "The certificate of the load balancer and the host name that it is for, so that the way from the gateway to it is TLS; null: HTTP within the network."
  type        = object({ arn = string, host = string })
  default     = null
  validation {
    condition = var.certificate == null || try(
      can(regex("^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+$", var.certificate.arn))
      && can(regex("^[a-z0-9.-]+$", var.certificate.host)), false
    )
    error_message = "certificate needs the ARN of an ACM certificate and the host name that it is for."
  }
}

variable "jwks_url" {
  description = "Where the services get the token issuer's keys, if not at the user pool's own address."
  type        = string
  default     = null
  validation {
    condition     = var.jwks_url == null || can(regex("^https://[^ ]+$", coalesce(var.jwks_url, "none")))
    error_message = "jwks_url is an https address."
  }
}

variable "routes" {
  description = "Where a new stage of each API begins: `service` or `monolith`. deploy/release moves it later on."
  type        = map(string)
  default     = {}
  validation {
    condition = alltrue([
      for name, target in var.routes :
      contains(["course_catalog", "content_delivery", "progress_tracking"], name) && contains(["service", "monolith"], target)
    ])
    error_message = "routes maps services to service or monolith."
  }
  validation {
    condition     = var.monolith != null || !contains(values(var.routes), "monolith")
    error_message = "routes leads to the monolith, but monolith is null."
  }
}

variable "monolith" {
  description = "The application that one leaves, run as one more service behind the same APIs; null: there is none. Its image's digest is image_digests.monolith. With `split`, its table is being split by deploy/migration."
  type = object({
    cpu               = number
    memory            = number
    minimum           = number
    maximum           = number
    health_check_path = string
    table_name        = string
    environment       = optional(map(string), {})
    split             = optional(bool, false)
  })
  default = null
  validation {
    condition     = var.monolith == null || contains(keys(var.image_digests), "monolith")
    error_message = "monolith needs image_digests.monolith."
  }
  validation {
    condition     = var.monolith == null || try(startswith(var.monolith.health_check_path, "/") && can(regex("^[A-Za-z0-9_.-]{3,255}$", var.monolith.table_name)), false)
    error_message = "monolith has a health_check_path that begins with / and the table_name of a DynamoDB table."
  }
}

variable "candidates" {
  description = "Of services of which another version is tried beside them, that version's digest; deploy/release leads a canary to it."
  type        = map(string)
  default     = {}
  validation {
    condition = alltrue([
      for name, digest in var.candidates :
      contains(["course_catalog", "content_delivery", "progress_tracking"], name) && can(regex("^sha256:[0-9a-f]{64}$", digest))
    ])
    error_message = "candidates maps services to digests (sha256:…)."
  }
}

variable "operators" {
  description = "Users and roles of the account that may take the operator's role, which releases: the ends of their ARNs, such as role/release or role/aws-reserved/sso.amazonaws.com/*/AWSReservedSSO_Release_*. None: there is no such role."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for one in var.operators : can(regex("^(role|user)/[A-Za-z0-9+=,.@_/*?-]{1,512}$", one)) && !can(regex("^(role|user)/[*?/]*$", one))])
    error_message = "operators are the ends of ARNs of users and roles: role/… or user/…, not all of them."
  }
}

variable "alarm_emails" {
  description = "Addresses that are told of alarms; each has to confirm."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@ ]+@[^@ ]+$", address))])
    error_message = "alarm_emails are e-mail addresses."
  }
}

variable "runbooks" {
  description = "What the links from alarms to docs/runbooks begin with: where this repository's docs are read."
  type        = string
  default     = "docs/runbooks"
  validation {
    condition     = can(regex("^[^ ]+[^/ ]$", var.runbooks))
    error_message = "runbooks is an address or a path without a slash at its end."
  }
}

variable "tracing" {
  description = "Share of requests that X-Ray samples of each service, and how many a second at least."
  type        = object({ rate = number, reservoir = number })
  default     = { rate = 0.05, reservoir = 1 }
  validation {
    condition     = var.tracing.rate >= 0 && var.tracing.rate <= 1 && var.tracing.reservoir >= 0 && var.tracing.reservoir == floor(var.tracing.reservoir)
    error_message = "tracing has a rate from 0 to 1 and a whole reservoir of 0 or more."
  }
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
  default     = 365
  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days is one of those that CloudWatch Logs has."
  }
}

variable "protected" {
  description = "Whether tables, bucket, user pool and load balancer refuse to be deleted. Off only where all may go."
  type        = bool
  default     = true
  validation {
    condition     = var.protected || var.environment != "prod"
    error_message = "prod is protected."
  }
}
