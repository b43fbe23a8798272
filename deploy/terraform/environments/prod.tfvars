# What learners use. Sizes and requests a task are what deploy/rightsizing works out for its example's
# load; there is more room upwards.
environment        = "prod"
region             = "eu-central-1"
cost_centre        = "lyceum"
cidr_block         = "10.40.0.0/16"
availability_zones = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
bucket_name        = "lyceum-prod-content"
cors_origins       = ["https://app.lyceum.example"]
log_retention_days = 365
protected          = true

sizes = {
  course_catalog               = { cpu = 256, memory = 512, minimum = 3, maximum = 30, spot_share = 40 }
  content_delivery             = { cpu = 256, memory = 512, minimum = 3, maximum = 20, spot_share = 40 }
  progress_tracking            = { cpu = 512, memory = 1024, minimum = 3, maximum = 60, spot_share = 0 }
  "progress_tracking-consumer" = { cpu = 256, memory = 512, minimum = 2, maximum = 6, spot_share = 60 }
}
requests_per_task = { course_catalog = 1600, progress_tracking = 1500 }
throttling        = { rate = 2000, burst = 4000 }
tracing           = { rate = 0.05, reservoir = 1 }
operators         = ["role/aws-reserved/sso.amazonaws.com/*/AWSReservedSSO_LyceumOperators_*"]
alarm_emails      = ["on-call@lyceum.example"]
