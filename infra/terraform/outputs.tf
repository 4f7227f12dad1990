output "keys" {
  description = "ARN of each tenant's seal key, for kms.key of its file."
  value       = { for tenant, key in aws_kms_key.seal : tenant => key.arn }
}

output "log_keys" {
  description = "ARN of each tenant's log key, for log.key of its file."
  value       = { for tenant, key in aws_kms_key.log : tenant => key.arn }
}

output "post_quantum_keys" {
  description = "ARN of each tenant's key for post-quantum signatures, where it has one, for kms.postQuantum.key of its file."
  value       = { for tenant, key in aws_kms_key.post_quantum : tenant => key.arn }
}

output "personal_data_keys" {
  description = "ARN of each tenant's key for personal data, where it has one, for evidence.personalDataKey of its file."
  value       = { for tenant, key in aws_kms_key.personal_data : tenant => key.arn }
}

output "roles" {
  description = "ARN of each role, by tenant-process, for the profiles that the tenants' files name."
  value       = { for name, role in aws_iam_role.session : name => role.arn }
}
