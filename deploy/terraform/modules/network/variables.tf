variable "cidr_block" {
  description = "The network's addresses."
  type        = string
}

variable "availability_zones" {
  description = "A private subnet is made in each."
  type        = list(string)
}

variable "region" {
  description = "The region, for the names of endpoints."
  type        = string
}

variable "account" {
  description = "The account whose principals may use the endpoints."
  type        = string
}

variable "table_arns" {
  description = "The tables that are reached from here; no others are."
  type        = list(string)
}

variable "bucket_arn" {
  description = "The bucket that is reached from here."
  type        = string
}

variable "log_retention_days" {
  description = "How long flow logs are kept."
  type        = number
}

variable "protected" {
  description = "Whether the load balancer refuses to be deleted."
  type        = bool
}
