output "id" {
  description = "The REST API."
  value       = aws_api_gateway_rest_api.this.id
}

output "name" {
  description = "The REST API's name, as CloudWatch has it."
  value       = aws_api_gateway_rest_api.this.name
}

output "stage" {
  description = "The stage."
  value       = aws_api_gateway_stage.this.stage_name
}

output "url" {
  description = "Where clients call it."
  value       = aws_api_gateway_stage.this.invoke_url
}

output "targets" {
  description = "Where its traffic can be led, host and port by name."
  value       = var.targets
}
