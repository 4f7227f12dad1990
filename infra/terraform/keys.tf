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
