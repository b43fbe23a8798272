# One program on ECS: its tasks, and all that only it has (roles, security group, listener, log group,
# scaling, alarms). Releasing it touches nothing of another service.

locals {
  dashed     = replace(var.name, "_", "-")
  service    = coalesce(var.service, var.name)
  port       = 8080
  answers    = var.listener != null
  own_secret = var.cursor_secret == null
  tags       = { Service = local.service }

  # The balancer's: how often it asks, and how often in vain before it sends no more.
  health_check_seconds = 5
  unhealthy_after      = 2

  # Spot takes its capacity back without telling the balancer first: its health checks find out, and
  # until then requests are still taken (docs/adr/0100). Elsewhere ECS tells it, and nothing is to wait.
  spot           = var.size.spot_share > 0
  notice_seconds = local.answers && local.spot ? local.health_check_seconds * local.unhealthy_after + 3 : null
  # How long a task may take to end: the drain's bound, and time to stop what runs beside it.
  drain_seconds = 20 + coalesce(local.notice_seconds, 0)
  stop_timeout  = local.drain_seconds + 20
}

resource "aws_ecs_task_definition" "this" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.size.cpu
  memory                   = var.size.memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn
  # deploy/release registers revisions too. What runs is compared with the newest one, so that a digest
  # that it has released is no change once it stands in image_digests.
  track_latest = true
  tags         = local.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }

  container_definitions = jsonencode([local.program, local.collector])
}

resource "aws_ecs_service" "this" {
  name             = var.name
  cluster          = var.platform.cluster_arn
  task_definition  = aws_ecs_task_definition.this.arn
  desired_count    = var.size.minimum
  platform_version = "LATEST"
  propagate_tags   = "SERVICE"
  tags             = local.tags

  # Always as many tasks as are wanted, new ones beside old ones; what does not get healthy or makes the
  # service worse is rolled back.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = local.answers ? 60 : null
  availability_zone_rebalancing      = "ENABLED"
  enable_ecs_managed_tags            = true

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  dynamic "alarms" {
    for_each = local.answers ? [1] : []
    content {
      alarm_names = [for alarm in aws_cloudwatch_metric_alarm.of_service : alarm.alarm_name]
      enable      = true
      rollback    = true
    }
  }

  # The first two tasks are never on Spot.
  capacity_provider_strategy {
    capacity_provider = "FARGATE"
    base              = min(2, var.size.minimum)
    weight            = 100 - var.size.spot_share
  }
  dynamic "capacity_provider_strategy" {
    for_each = local.spot ? [var.size.spot_share] : []
    content {
      capacity_provider = "FARGATE_SPOT"
      weight            = capacity_provider_strategy.value
    }
  }

  network_configuration {
    subnets          = var.platform.network.subnet_ids
    security_groups  = [aws_security_group.this.id]
    assign_public_ip = false
  }

  dynamic "load_balancer" {
    for_each = aws_lb_target_group.this
    content {
      target_group_arn = load_balancer.value.arn
      container_name   = var.name
      container_port   = local.port
    }
  }

  lifecycle {
    # Autoscaling's, and deploy/release's before a canary.
    ignore_changes = [desired_count]
  }

  # A target group belongs to a load balancer only by its listener; a task without its policy fails.
  depends_on = [aws_lb_listener.this, aws_iam_role_policy.execution, aws_iam_role_policy.task]
}
