# An account to try things in: small, and all of it may go.
environment        = "dev"
region             = "eu-central-1"
cost_centre        = "lyceum-dev"
cidr_block         = "10.41.0.0/16"
availability_zones = ["eu-central-1a", "eu-central-1b"]
bucket_name        = "lyceum-dev-content"
cors_origins       = ["https://app.dev.lyceum.example"]
log_retention_days = 30
protected          = false

sizes = {
  course_catalog               = { cpu = 256, memory = 512, minimum = 1, maximum = 2, spot_share = 100 }
  content_delivery             = { cpu = 256, memory = 512, minimum = 1, maximum = 2, spot_share = 100 }
  progress_tracking            = { cpu = 256, memory = 512, minimum = 1, maximum = 2, spot_share = 100 }
  "progress_tracking-consumer" = { cpu = 256, memory = 512, minimum = 1, maximum = 2, spot_share = 100 }
}
requests_per_task = { course_catalog = 6000, progress_tracking = 3000 }
throttling        = { rate = 100, burst = 200 }
tracing           = { rate = 1, reservoir = 10 }
operators         = ["role/aws-reserved/sso.amazonaws.com/*/AWSReservedSSO_LyceumDevelopers_*"]
