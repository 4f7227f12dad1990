# A role per tenant and process. It isn't tagged itself: its tenant is the tag of the session, which the trust policy fixes.
resource "aws_iam_role" "session" {
  for_each = local.sessions

  name               = each.key
  path               = "/countersign/"
  assume_role_policy = templatefile("${path.module}/../aws/role-trust.json", merge(local.common, { tenant = each.value.tenant, process = var.processes[each.value.process] }))
}

resource "aws_iam_role_policy" "worker" {
  for_each = var.tenants

  name   = "worker"
  role   = aws_iam_role.session["${each.key}-worker"].id
  policy = templatefile("${path.module}/../aws/worker-role.json", local.common)
}

resource "aws_iam_role_policy" "starter" {
  for_each = var.tenants

  name   = "starter"
  role   = aws_iam_role.session["${each.key}-starter"].id
  policy = templatefile("${path.module}/../aws/starter-role.json", local.common)
}
