resource "aws_kms_key" "seal" {
  for_each = var.tenants

  description              = "Countersign: seals of ${each.key}"
  key_usage                = "SIGN_VERIFY"
  customer_master_key_spec = each.value.key_spec
  deletion_window_in_days  = 30
  policy                   = templatefile("${path.module}/../aws/key.json", merge(local.common, { tenant = each.key }))
  tags                     = { tenant = each.key }

  lifecycle {
    prevent_destroy = true
  }
}

# The log's key has no certificate: whoever watches a log is given its public half, which must never change.
resource "aws_kms_key" "log" {
  for_each = var.tenants

  description              = "Countersign: log of ${each.key}"
  key_usage                = "SIGN_VERIFY"
  customer_master_key_spec = "ECC_NIST_EDWARDS25519"
  deletion_window_in_days  = 30
  policy                   = templatefile("${path.module}/../aws/key.json", merge(local.common, { tenant = each.key }))
  tags                     = { tenant = each.key }

  lifecycle {
    prevent_destroy = true
  }
}

# Its public half is handed to whoever verifies evidence, so it stays as well.
resource "aws_kms_key" "post_quantum" {
  for_each = { for id, tenant in var.tenants : id => tenant if tenant.post_quantum_key_spec != null }

  description              = "Countersign: post-quantum signatures of ${each.key}"
  key_usage                = "SIGN_VERIFY"
  customer_master_key_spec = each.value.post_quantum_key_spec
  deletion_window_in_days  = 30
  policy                   = templatefile("${path.module}/../aws/key.json", merge(local.common, { tenant = each.key }))
  tags                     = { tenant = each.key }

  lifecycle {
    prevent_destroy = true
  }
}

# What was concealed under it can't be read without it, so it stays as well.
resource "aws_kms_key" "personal_data" {
  for_each = { for id, tenant in var.tenants : id => tenant if tenant.personal_data_key }

  description             = "Countersign: keys of the people of ${each.key}"
  key_usage               = "ENCRYPT_DECRYPT"
  deletion_window_in_days = 30
  enable_key_rotation     = true
  policy                  = templatefile("${path.module}/../aws/key.json", merge(local.common, { tenant = each.key }))
  tags                    = { tenant = each.key }

  lifecycle {
    prevent_destroy = true
  }
}
