# What runs in a task: the program, and the collector that takes its segments to X-Ray.

locals {
  # The sampling rules are X-Ray's own (modules/observability), asked of the collector; the rate is for
  # as long as they have not come.
  environment = merge(var.environment,
    {
      "${var.prefix}HOST"                     = "0.0.0.0"
      "${var.prefix}PORT"                     = tostring(local.port)
      "${var.prefix}DRAIN_SECONDS"            = tostring(local.drain_seconds)
      "${var.prefix}TRACING_DAEMON"           = "127.0.0.1:2000"
      "${var.prefix}TRACING_RATE"             = tostring(var.platform.tracing_rate)
      "${var.prefix}TRACING_CENTRAL_SAMPLING" = "true"
    },
    { for seconds in local.notice_seconds[*] : "${var.prefix}READINESS_NOTICE_SECONDS" => tostring(seconds) },
  )

  # As containers are hardened everywhere here: nobody's user, nothing to write to, nothing to become.
  hardened = {
    essential              = true
    privileged             = false
    readonlyRootFilesystem = true
    linuxParameters = {
      capabilities       = { add = [], drop = ["ALL"] }
      initProcessEnabled = false
    }
    mountPoints    = []
    portMappings   = []
    systemControls = []
    volumesFrom    = []
  }

  program = merge(
    local.hardened,
    {
      name        = var.name
      image       = var.image
      user        = "65532:65532"
      stopTimeout = local.stop_timeout
      environment = [for name in sort(keys(local.environment)) : { name = name, value = local.environment[name] }]
      secrets     = [{ name = "${var.prefix}CURSOR_SECRETS", valueFrom = local.cursor_secret_arn }]
      # Segments of requests that begin before the collector listens would be lost.
      dependsOn = [{ containerName = "collector", condition = "START" }]
      logConfiguration = {
        logDriver = "awslogs"
        options   = merge(local.log_options, { "awslogs-stream-prefix" = "task" })
      }
    },
    { for command in [var.command] : "command" => command if command != null },
    {
      for mapping in [{ containerPort = local.port, hostPort = local.port, protocol = "tcp" }] :
      "portMappings" => [mapping] if local.answers
    },
    {
      # The image's own, which ECS does not read from there.
      for check in [["CMD", "/app/bin/python", "-I", "-m", "libs.health_check", var.prefix]] :
      "healthCheck" => { command = check, interval = 10, timeout = 5, retries = 3, startPeriod = 15 }
      if try(var.listener.container_check, false)
    },
  )

  collector = merge(local.hardened, {
    name    = "collector"
    image   = var.platform.collector_image
    user    = "65532:65532"
    command = ["--config=env:COLLECTOR_CONFIGURATION"]
    environment = [
      { name = "AWS_REGION", value = var.platform.region },
      { name = "COLLECTOR_CONFIGURATION", value = yamlencode(local.collector_configuration) },
    ]
    secrets     = []
    cpu         = 32
    memory      = 128
    dependsOn   = []
    essential   = false              # a service that is not traced still serves
    stopTimeout = local.stop_timeout # it ends after the program, which depends on it
    logConfiguration = {
      logDriver = "awslogs"
      options   = merge(local.log_options, { "awslogs-stream-prefix" = "collector" })
    }
  })

  collector_configuration = {
    receivers = {
      awsxray = {
        endpoint     = "127.0.0.1:2000" # UDP: segments
        transport    = "udp"
        proxy_server = { endpoint = "127.0.0.1:2000", region = var.platform.region } # TCP: sampling rules
      }
    }
    processors = {
      memory_limiter = { check_interval = "1s", limit_mib = 96, spike_limit_mib = 24 }
      batch          = { timeout = "1s", send_batch_size = 50 }
    }
    exporters = { awsxray = { region = var.platform.region, telemetry = { enabled = false } } }
    service = {
      pipelines = {
        traces = { receivers = ["awsxray"], processors = ["memory_limiter", "batch"], exporters = ["awsxray"] }
      }
      telemetry = { logs = { level = "warn", encoding = "json" }, metrics = { level = "none" } }
    }
  }

  log_options = {
    "awslogs-group"  = aws_cloudwatch_log_group.this.name
    "awslogs-region" = var.platform.region
    # Never wait for the log: lines beyond this are dropped rather than requests.
    "mode"            = "non-blocking"
    "max-buffer-size" = "25m"
  }
}

resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_158:CloudWatch Logs encrypts by itself; a key of our own would be one more thing a log line needs (docs/adr/0111)
  name              = "/lyceum/${var.name}"
  retention_in_days = var.platform.log_retention_days
  tags              = local.tags
}
