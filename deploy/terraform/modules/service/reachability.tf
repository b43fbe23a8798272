# Who reaches the tasks, and what they reach: the load balancer in, endpoints out, nothing else. Tasks of
# two services never reach each other.

resource "aws_security_group" "this" {
  name        = "lyceum-${local.dashed}"
  description = "Tasks of ${var.name}"
  vpc_id      = var.platform.network.vpc_id
  tags        = merge(local.tags, { Name = "lyceum-${local.dashed}" })
}

resource "aws_vpc_security_group_egress_rule" "to_endpoints" {
  security_group_id            = aws_security_group.this.id
  description                  = "To the interface endpoints"
  referenced_security_group_id = var.platform.network.endpoints_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  tags                         = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  security_group_id            = var.platform.network.endpoints_security_group_id
  description                  = "From tasks of ${var.name}"
  referenced_security_group_id = aws_security_group.this.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  tags                         = local.tags
}

resource "aws_vpc_security_group_egress_rule" "to_gateway_endpoints" {
  for_each = {
    dynamodb = { id = var.platform.network.prefix_list_ids.dynamodb, what = "DynamoDB" }
    s3       = { id = var.platform.network.prefix_list_ids.s3, what = "S3, where layers of images are, too" }
  }

  security_group_id = aws_security_group.this.id
  description       = "To ${each.value.what}"
  prefix_list_id    = each.value.id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "from_load_balancer" {
  count = local.answers ? 1 : 0

  security_group_id            = aws_security_group.this.id
  description                  = "From the load balancer"
  referenced_security_group_id = var.platform.network.load_balancer_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
  tags                         = local.tags
}

resource "aws_vpc_security_group_egress_rule" "load_balancer" {
  count = local.answers ? 1 : 0

  security_group_id            = var.platform.network.load_balancer_security_group_id
  description                  = "To tasks of ${var.name}"
  referenced_security_group_id = aws_security_group.this.id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
  tags                         = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "listener" {
  count = local.answers ? 1 : 0

  security_group_id            = var.platform.network.load_balancer_security_group_id
  description                  = "From the VPC link to the listener of ${var.name}"
  referenced_security_group_id = var.platform.network.link_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = var.listener.port
  to_port                      = var.listener.port
  tags                         = local.tags
}

resource "aws_vpc_security_group_egress_rule" "link" {
  count = local.answers ? 1 : 0

  security_group_id            = var.platform.network.link_security_group_id
  description                  = "To the listener of ${var.name}"
  referenced_security_group_id = var.platform.network.load_balancer_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = var.listener.port
  to_port                      = var.listener.port
  tags                         = local.tags
}

resource "aws_lb_target_group" "this" {
  count = local.answers ? 1 : 0

  name        = local.dashed
  vpc_id      = var.platform.network.vpc_id
  target_type = "ip"
  port        = local.port
  protocol    = "HTTP"
  # A draining task finishes what it has; longer than the longest request of 28 s.
  deregistration_delay          = 30
  load_balancing_algorithm_type = "least_outstanding_requests"
  tags                          = local.tags

  health_check {
    path                = var.listener.health_check_path
    matcher             = "200"
    interval            = local.health_check_seconds
    timeout             = 4
    healthy_threshold   = 2
    unhealthy_threshold = local.unhealthy_after
  }
}

resource "aws_lb_listener" "this" {
  count = local.answers ? 1 : 0

  load_balancer_arn = var.platform.network.load_balancer_arn
  port              = var.listener.port
  protocol          = var.listener.certificate_arn == null ? "HTTP" : "HTTPS"
  certificate_arn   = var.listener.certificate_arn
  ssl_policy        = var.listener.certificate_arn == null ? null : "ELBSecurityPolicy-TLS13-1-2-2021-06"
  tags              = local.tags

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this[0].arn
  }
}
