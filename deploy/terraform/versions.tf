terraform {
  required_version = "~> 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # Which bucket is said at `terraform init`, by environments/<name>.s3.tfbackend: see README.md.
  backend "s3" {}
}

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      Project     = "lyceum"
      Environment = var.environment
      CostCentre  = var.cost_centre
      ManagedBy   = "terraform"
    }
  }
}
