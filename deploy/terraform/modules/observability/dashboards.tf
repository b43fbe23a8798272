# A dashboard a service, and one of all whose first row answers: is it up, which service, which
# dependency. A graph is a title and its lines; where it stands follows from its place in the list.
# Lines of a dimension whose values are the code's own are searched for, so that none is missing here.
#
# tests/terraform holds every metric that is drawn here against those that the code emits.

locals {
  lyceum = "Lyceum"

  # What each service is asked, and how it answers; as it counts itself and as the gateway sees it.
  requests = {
    for name, service in var.services : name => [
      {
        title = "Requests and faults a minute"
        lines = [
          [local.lyceum, "RequestCount", "Service", name, { stat = "Sum" }],
          [local.lyceum, "ErrorCount", "Service", name, { stat = "Sum" }],
          [local.lyceum, "FaultCount", "Service", name, { stat = "Sum", color = "#d62728" }],
          [local.lyceum, "AbandonedCount", "Service", name, { stat = "Sum" }],
        ]
      },
      {
        title = "Latency, ms"
        lines = [
          [local.lyceum, "Latency", "Service", name, { stat = "p50", label = "p50" }],
          [local.lyceum, "Latency", "Service", name, { stat = "p99", label = "p99" }],
        ]
      },
      {
        title = "As the gateway sees it"
        lines = [
          ["AWS/ApiGateway", "Count", "ApiName", service.api, "Stage", service.stage, { stat = "Sum" }],
          ["AWS/ApiGateway", "4XXError", "ApiName", service.api, "Stage", service.stage, { stat = "Sum" }],
          ["AWS/ApiGateway", "5XXError", "ApiName", service.api, "Stage", service.stage, { stat = "Sum", color = "#d62728" }],
          ["AWS/ApiGateway", "Latency", "ApiName", service.api, "Stage", service.stage, { stat = "p99", yAxis = "right" }],
        ]
      },
      {
        # Of the requests that a canary is given, which the gateway counts for themselves.
        title = "A canary, while one is under way"
        lines = [
          ["AWS/ApiGateway", "Count", "ApiName", service.api, "Stage", "${service.stage}/Canary", { stat = "Sum" }],
          ["AWS/ApiGateway", "5XXError", "ApiName", service.api, "Stage", "${service.stage}/Canary", { stat = "Sum", color = "#d62728" }],
          ["AWS/ApiGateway", "Latency", "ApiName", service.api, "Stage", "${service.stage}/Canary", { stat = "p99", yAxis = "right" }],
        ]
      },
      {
        title = "Latency by route, p99, ms"
        lines = [[{ expression = "SEARCH('{Lyceum,Service,Route,Method} MetricName=\"Latency\" Service=\"${name}\"', 'p99', 60)" }]]
      },
      {
        title = "Faults by route"
        lines = [[{ expression = "SEARCH('{Lyceum,Service,Route,Method} MetricName=\"FaultCount\" Service=\"${name}\"', 'Sum', 60)" }]]
      },
      {
        title = "Healthy tasks"
        lines = [
          ["AWS/ApplicationELB", "HealthyHostCount", "LoadBalancer", service.load_balancer, "TargetGroup", service.target_group, { stat = "Minimum" }],
          ["AWS/ApplicationELB", "UnHealthyHostCount", "LoadBalancer", service.load_balancer, "TargetGroup", service.target_group, { stat = "Maximum" }],
          ["ECS/ContainerInsights", "RunningTaskCount", "ClusterName", var.cluster, "ServiceName", name, { stat = "Minimum" }],
        ]
      },
    ]
  }

  dependencies = {
    for name, service in var.services : name => [
      {
        title = "Latency of dependencies, p99, ms"
        lines = [[{ expression = "SEARCH('{Lyceum,Service,Dependency} MetricName=\"DependencyLatency\" Service=\"${name}\"', 'p99', 60)" }]]
      },
      {
        title = "Errors of dependencies"
        lines = [[{ expression = "SEARCH('{Lyceum,Service,Dependency} MetricName=\"DependencyErrors\" Service=\"${name}\"', 'Sum', 60)" }]]
      },
      {
        title = "Circuits: above 1 all calls are refused"
        lines = [
          [{ expression = "SEARCH('{Lyceum,Service,Breaker} MetricName=\"BreakerState\" Service=\"${name}\"', 'Maximum', 60)" }],
          [{ expression = "SEARCH('{Lyceum,Service,Breaker} MetricName=\"BreakerStateChanges\" Service=\"${name}\"', 'Sum', 60)" }],
        ]
      },
      {
        title = "Refused calls"
        lines = [
          [{ expression = "SEARCH('{Lyceum,Service,Breaker} MetricName=\"BreakerRejections\" Service=\"${name}\"', 'Sum', 60)" }],
          [{ expression = "SEARCH('{Lyceum,Service,OperationClass} MetricName=\"BulkheadRejections\" Service=\"${name}\"', 'Sum', 60)" }],
          [{ expression = "SEARCH('{Lyceum,Service,OperationClass} MetricName=\"DeadlinesPassed\" Service=\"${name}\"', 'Sum', 60)" }],
        ]
      },
      {
        title = "Retries, made and refused"
        lines = [
          [{ expression = "SEARCH('{Lyceum,Service,OperationClass} MetricName=\"Retries\" Service=\"${name}\"', 'Sum', 60)" }],
          [{ expression = "SEARCH('{Lyceum,Service,OperationClass} MetricName=\"RetriesRefused\" Service=\"${name}\"', 'Sum', 60)" }],
        ]
      },
      {
        title = "Calls that run and that wait"
        lines = [
          [{ expression = "SEARCH('{Lyceum,Service,OperationClass} MetricName=\"BulkheadRunning\" Service=\"${name}\"', 'Maximum', 60)" }],
          [{ expression = "SEARCH('{Lyceum,Service,OperationClass} MetricName=\"BulkheadQueued\" Service=\"${name}\"', 'Maximum', 60)" }],
        ]
      },
    ]
  }

  capacity = {
    for name, service in var.services : name => [
      {
        title = "Capacity consumed, as the service is told"
        lines = [
          [local.lyceum, "ConsumedReadCapacityUnits", "Service", name, "Table", service.table, { stat = "Sum" }],
          [local.lyceum, "ConsumedWriteCapacityUnits", "Service", name, "Table", service.table, { stat = "Sum" }],
        ]
      },
      {
        title = "The table, as DynamoDB counts it"
        lines = [
          ["AWS/DynamoDB", "ConsumedReadCapacityUnits", "TableName", service.table, { stat = "Sum" }],
          ["AWS/DynamoDB", "ConsumedWriteCapacityUnits", "TableName", service.table, { stat = "Sum" }],
          ["AWS/DynamoDB", "ReadThrottleEvents", "TableName", service.table, { stat = "Sum", color = "#d62728" }],
          ["AWS/DynamoDB", "WriteThrottleEvents", "TableName", service.table, { stat = "Sum", color = "#ff7f0e" }],
        ]
      },
      {
        title = "CPU and memory of tasks, percent"
        lines = [
          ["AWS/ECS", "CPUUtilization", "ClusterName", var.cluster, "ServiceName", name, { stat = "Maximum" }],
          ["AWS/ECS", "MemoryUtilization", "ClusterName", var.cluster, "ServiceName", name, { stat = "Maximum" }],
        ]
      },
      {
        title = "Lag of the event loop, ms"
        lines = [
          [local.lyceum, "EventLoopLag", "Service", name, { stat = "p50", label = "p50" }],
          [local.lyceum, "EventLoopLag", "Service", name, { stat = "p99", label = "p99" }],
        ]
      },
      {
        title = "Memory of the process, bytes"
        lines = [[local.lyceum, "ResidentMemory", "Service", name, { stat = "Maximum" }]]
      },
      {
        title = "Tasks of the event loop, open files"
        lines = [
          [local.lyceum, "Tasks", "Service", name, { stat = "Maximum" }],
          [local.lyceum, "OpenFileDescriptors", "Service", name, { stat = "Maximum" }],
        ]
      },
    ]
  }

  caches = {
    for name, cache in { content_delivery = "contents", progress_tracking = "outlines" } : name => [
      {
        title = "Cache ${cache}: hits, misses, entries"
        lines = [
          [local.lyceum, "CacheHits", "Service", name, "Cache", cache, { stat = "Sum" }],
          [local.lyceum, "CacheMisses", "Service", name, "Cache", cache, { stat = "Sum" }],
          [local.lyceum, "CacheEntries", "Service", name, "Cache", cache, { stat = "Maximum", yAxis = "right" }],
        ]
      },
      {
        title = "Cache ${cache}: age of its answers, s"
        lines = [
          [{ expression = "age / hits", label = "mean age" }],
          [local.lyceum, "CacheHitAge", "Service", name, "Cache", cache, { id = "age", stat = "Sum", visible = false }],
          [local.lyceum, "CacheHits", "Service", name, "Cache", cache, { id = "hits", stat = "Sum", visible = false }],
        ]
      },
    ]
  }

  own = {
    course_catalog = [
      {
        title = "Directory: age, s"
        lines = [[local.lyceum, "DirectoryAge", "Service", "course_catalog", { stat = "Maximum" }]]
      },
      {
        title = "Directory: courses and refreshes"
        lines = [
          [local.lyceum, "DirectoryCourses", "Service", "course_catalog", { stat = "Maximum", yAxis = "right" }],
          [local.lyceum, "DirectoryRefreshes", "Service", "course_catalog", { stat = "Sum" }],
          [local.lyceum, "DirectoryRefreshFailures", "Service", "course_catalog", { stat = "Sum", color = "#d62728" }],
        ]
      },
      {
        title = "Courses from memory while the table failed"
        lines = [
          [local.lyceum, "StaleAnswers", "Service", "course_catalog", { stat = "Sum" }],
          [local.lyceum, "LastKnownCourses", "Service", "course_catalog", { stat = "Maximum" }],
          [local.lyceum, "LastKnownBytes", "Service", "course_catalog", { stat = "Maximum", yAxis = "right" }],
        ]
      },
      {
        title = "Pages of the listing that were there already"
        lines = [
          [local.lyceum, "RenderedPageHits", "Service", "course_catalog", { stat = "Sum" }],
          [local.lyceum, "RenderedPagesBytes", "Service", "course_catalog", { stat = "Maximum", yAxis = "right" }],
        ]
      },
    ]
    content_delivery  = local.caches["content_delivery"]
    progress_tracking = concat(local.caches["progress_tracking"], local.outlines)
  }

  outlines = [
    {
      title = "Outlines: age of the oldest that waits, and lag, s and ms"
      lines = [
        ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", var.consumer.queue, { stat = "Maximum" }],
        [{ expression = "SEARCH('{Lyceum,Service,Queue} MetricName=\"QueueLag\" Service=\"progress_tracking\"', 'p99', 60)", yAxis = "right" }],
      ]
    },
    {
      title = "Outlines: received, failed, parked"
      lines = [
        [{ expression = "SEARCH('{Lyceum,Service,Queue} MetricName=\"MessagesReceived\" Service=\"progress_tracking\"', 'Sum', 60)" }],
        [{ expression = "SEARCH('{Lyceum,Service,Queue} MetricName=\"MessagesFailed\" Service=\"progress_tracking\"', 'Sum', 60)" }],
        [{ expression = "SEARCH('{Lyceum,Service,Queue} MetricName=\"MessagesParked\" Service=\"progress_tracking\"', 'Sum', 60)" }],
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", var.consumer.parked, { stat = "Maximum", color = "#d62728" }],
      ]
    },
    {
      title = "Outlines: what came of them"
      lines = [
        [{ expression = "SEARCH('{Lyceum,Service,Outcome} MetricName=\"OutlineEvents\" Service=\"progress_tracking\"', 'Sum', 60)" }],
        ["AWS/EventBridge/Pipes", "ExecutionFailed", "PipeName", var.consumer.pipe, { stat = "Sum", color = "#d62728" }],
        ["ECS/ContainerInsights", "RunningTaskCount", "ClusterName", var.cluster, "ServiceName", var.consumer.name, { stat = "Minimum", yAxis = "right" }],
      ]
    },
  ]

  # Is it up, which service, which dependency.
  overview = [
    {
      title = "Is it up: healthy tasks"
      lines = [
        for name, service in var.services :
        ["AWS/ApplicationELB", "HealthyHostCount", "LoadBalancer", service.load_balancer, "TargetGroup", service.target_group, { stat = "Minimum", label = name }]
      ]
    },
    {
      title = "Which service: faults, percent of requests"
      lines = concat(
        [for name in sort(keys(var.services)) : [{ expression = "100 * faults_${name} / requests_${name}", label = name }]],
        [for name in sort(keys(var.services)) : [local.lyceum, "FaultCount", "Service", name, { id = "faults_${name}", stat = "Sum", visible = false }]],
        [for name in sort(keys(var.services)) : [local.lyceum, "RequestCount", "Service", name, { id = "requests_${name}", stat = "Sum", visible = false }]],
      )
    },
    {
      title = "Which dependency: errors"
      lines = [[{ expression = "SEARCH('{Lyceum,Service,Dependency} MetricName=\"DependencyErrors\"', 'Sum', 60)" }]]
    },
    {
      title = "Requests a minute"
      lines = [for name in sort(keys(var.services)) : [local.lyceum, "RequestCount", "Service", name, { stat = "Sum", label = name }]]
    },
    {
      title = "Latency, p99, ms"
      lines = [for name in sort(keys(var.services)) : [local.lyceum, "Latency", "Service", name, { stat = "p99", label = name }]]
    },
    {
      title = "Circuits: above 1 all calls are refused"
      lines = [[{ expression = "SEARCH('{Lyceum,Service,Breaker} MetricName=\"BreakerState\"', 'Maximum', 60)" }]]
    },
    {
      title = "5xx as the gateway sees them"
      lines = [
        for name, service in var.services :
        ["AWS/ApiGateway", "5XXError", "ApiName", service.api, "Stage", service.stage, { stat = "Sum", label = name }]
      ]
    },
    {
      title = "Latency of dependencies, p99, ms"
      lines = [[{ expression = "SEARCH('{Lyceum,Service,Dependency} MetricName=\"DependencyLatency\"', 'p99', 60)" }]]
    },
    {
      title = "Throttled tables"
      lines = flatten([
        for name, service in var.services : [
          for kind in ["Read", "Write"] :
          { line = ["AWS/DynamoDB", "${kind}ThrottleEvents", "TableName", service.table, { stat = "Sum" }] }
        ]
      ])[*].line
    },
  ]

  graphs = merge(
    { overview = concat(local.overview, local.outlines) },
    { for name in keys(var.services) : name => concat(local.requests[name], local.dependencies[name], local.capacity[name], local.own[name]) },
  )
}

resource "aws_cloudwatch_dashboard" "this" {
  for_each = local.graphs

  dashboard_name = each.key == "overview" ? "lyceum" : "lyceum-${replace(each.key, "_", "-")}"
  dashboard_body = jsonencode({
    start = "-PT3H"
    widgets = concat(
      [
        for index, graph in each.value : {
          type   = "metric"
          x      = index % 3 * 8
          y      = floor(index / 3) * 6
          width  = 8
          height = 6
          properties = {
            title   = graph.title
            region  = var.region
            view    = "timeSeries"
            period  = 60
            metrics = graph.lines
            yAxis   = { left = { min = 0 } }
          }
        }
      ],
      [
        for name, service in var.services : {
          type   = "log"
          x      = 0
          y      = ceil(length(each.value) / 3) * 6
          width  = 24
          height = 6
          properties = {
            title  = "What failed last"
            region = var.region
            view   = "table"
            query  = "SOURCE '${service.log_group}' | fields @timestamp, event, route, status, traceId | filter level = 'error' | sort @timestamp desc | limit 20"
          }
        } if name == each.key
      ],
    )
  })
}
