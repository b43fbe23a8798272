output "vpc_id" {
  description = "The network."
  value       = aws_vpc.this.id
}

output "subnet_ids" {
  description = "The private subnets."
  value       = [for subnet in aws_subnet.private : subnet.id]
}

output "endpoints_security_group_id" {
  description = "The interface endpoints' security group."
  value       = aws_security_group.endpoints.id
}

output "prefix_list_ids" {
  description = "Of the gateway endpoints: the addresses of DynamoDB and S3."
  value       = { dynamodb = aws_vpc_endpoint.dynamodb.prefix_list_id, s3 = aws_vpc_endpoint.s3.prefix_list_id }
}

output "link_security_group_id" {
  description = "The VPC link's security group."
  value       = aws_security_group.link.id
}

output "vpc_link_id" {
  description = "The VPC link."
  value       = aws_apigatewayv2_vpc_link.this.id
}

output "load_balancer_arn" {
  description = "The load balancer."
  value       = aws_lb.this.arn
}

output "load_balancer_host" {
  description = "The load balancer's name within the network."
  value       = aws_lb.this.dns_name
}

output "load_balancer_metric_name" {
  description = "The load balancer as CloudWatch names it."
  value       = aws_lb.this.arn_suffix
}

output "load_balancer_security_group_id" {
  description = "The load balancer's security group."
  value       = aws_security_group.load_balancer.id
}
