# What Countersign needs of AWS, for one account and region. README.md of infra/aws says how it is used.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.30, < 7.0"
    }
  }
}

data "aws_caller_identity" "current" {}

data "aws_region" "current" {}

locals {
  # What the templates in infra/aws are rendered with, but for tenant and process. infra/awsgate renders the same files for the local stack.
  common = {
    account                = data.aws_caller_identity.current.account_id
    region                 = data.aws_region.current.name
    documents_bucket       = var.documents_bucket
    evidence_bucket        = var.evidence_bucket
    minimum_retention_days = var.minimum_retention_days
    # Nobody has this address: here plain HTTP is accepted from nowhere. The local stack, which has no TLS, says its loopback.
    plain_http_from = "255.255.255.255/32"
  }

  sessions = {
    for pair in setproduct(keys(var.tenants), keys(var.processes)) : "${pair[0]}-${pair[1]}" => { tenant = pair[0], process = pair[1] }
  }
}
