# The way in: API Gateway's VPC link, then one internal load balancer with a listener for each service.
# Services add their listeners, and the rules that let them be reached.

resource "aws_security_group" "link" {
  name        = "lyceum-vpc-link"
  description = "API Gateway's network interfaces: out to the load balancer, in from nowhere"
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "lyceum-vpc-link" }
}

# A link of the second kind: it reaches an application load balancer without another one in front.
resource "aws_apigatewayv2_vpc_link" "this" {
  name               = "lyceum"
  subnet_ids         = [for subnet in aws_subnet.private : subnet.id]
  security_group_ids = [aws_security_group.link.id]
}

resource "aws_security_group" "load_balancer" {
  name        = "lyceum-load-balancer"
  description = "From the VPC link to the services"
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "lyceum-load-balancer" }
}

resource "aws_lb" "this" {
  # checkov:skip=CKV_AWS_91:each request is in the gateway's access log and in the service's, with one trace id
  name                       = "lyceum"
  internal                   = true
  load_balancer_type         = "application"
  subnets                    = [for subnet in aws_subnet.private : subnet.id]
  security_groups            = [aws_security_group.load_balancer.id]
  drop_invalid_header_fields = true
  enable_deletion_protection = var.protected
  # Above the 29 s of API Gateway and below the services' keep-alive, so that neither end is surprised.
  idle_timeout = 60
}
