resource "aws_s3_bucket" "documents" {
  bucket = var.documents_bucket

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket" "evidence" {
  bucket              = var.evidence_bucket
  object_lock_enabled = true

  lifecycle {
    prevent_destroy = true
  }
}

locals {
  buckets = { documents = aws_s3_bucket.documents.id, evidence = aws_s3_bucket.evidence.id }
}

resource "aws_s3_bucket_versioning" "kept" {
  for_each = local.buckets

  bucket = each.value
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_public_access_block" "closed" {
  for_each = local.buckets

  bucket                  = each.value
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "ours" {
  for_each = local.buckets

  bucket = each.value
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_policy" "documents" {
  bucket     = aws_s3_bucket.documents.id
  policy     = templatefile("${path.module}/../aws/documents-bucket.json", local.common)
  depends_on = [aws_s3_bucket_public_access_block.closed]
}

resource "aws_s3_bucket_policy" "evidence" {
  bucket     = aws_s3_bucket.evidence.id
  policy     = templatefile("${path.module}/../aws/evidence-bucket.json", local.common)
  depends_on = [aws_s3_bucket_public_access_block.closed]
}

# What a lost worker withheld and never released. Its worker destroys the rest.
resource "aws_s3_bucket_lifecycle_configuration" "documents" {
  bucket     = aws_s3_bucket.documents.id
  depends_on = [aws_s3_bucket_versioning.kept]

  dynamic "rule" {
    for_each = var.tenants

    content {
      id     = "withheld-${rule.key}"
      status = "Enabled"
      filter {
        prefix = "${rule.key}/withheld/"
      }
      expiration {
        days = var.withheld_days
      }
      noncurrent_version_expiration {
        noncurrent_days = var.withheld_days
      }
    }
  }
}
