# The bucket of all content. Clients reach it by signed URLs alone; the content service signs them.

variable "name" {
  description = "The bucket's name."
  type        = string
}

variable "cors_origins" {
  description = "Web origins whose pages may fetch from and upload to the bucket."
  type        = list(string)
}

variable "protected" {
  description = "Whether a bucket with objects in it refuses to be deleted."
  type        = bool
}

variable "tags" {
  description = "Tags of the bucket."
  type        = map(string)
}

resource "aws_s3_bucket" "this" {
  # checkov:skip=CKV_AWS_18:who is given a URL is in the content service's audit log, object and user; an access log would name neither
  # checkov:skip=CKV_AWS_144:a copy in another region doubles the bill; versions and point-in-time recovery cover loss by mistake (docs/adr/0112)
  # checkov:skip=CKV_AWS_145:S3 encrypts by itself; a key of our own would have to be opened to whoever signs URLs (docs/adr/0111)
  # checkov:skip=CKV2_AWS_62:nobody waits for events of objects: the service verifies an upload when it is told to
  bucket        = var.name
  force_destroy = !var.protected
  tags          = var.tags
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    object_ownership = "BucketOwnerEnforced" # ACLs mean nothing here
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket                  = aws_s3_bucket.this.id
  block_public_acls       = true
  ignore_public_acls      = true
  block_public_policy     = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  bucket     = aws_s3_bucket.this.id
  depends_on = [aws_s3_bucket_versioning.this]

  rule {
    id     = "abandoned-uploads"
    status = "Enabled"
    filter {
      prefix = "content/"
    }
    # As long as the service waits for an upload (CONTENT_UPLOAD_PENDING_DAYS).
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  rule {
    # What was overwritten or removed can be brought back for as long as deleted content can
    # (CONTENT_RETENTION_DAYS).
    id     = "former-versions"
    status = "Enabled"
    filter {
      prefix = ""
    }
    noncurrent_version_expiration {
      noncurrent_days = 30
    }
    expiration {
      expired_object_delete_marker = true
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

resource "aws_s3_bucket_cors_configuration" "this" {
  count  = length(var.cors_origins) > 0 ? 1 : 0
  bucket = aws_s3_bucket.this.id

  cors_rule {
    allowed_origins = var.cors_origins
    # Playing by signed URLs, uploading parts by signed URLs, uploading by signed forms.
    allowed_methods = ["GET", "HEAD", "POST", "PUT"]
    allowed_headers = ["Content-MD5", "Content-Type", "If-None-Match", "If-Range", "Range"]
    expose_headers  = ["Accept-Ranges", "Content-Length", "Content-Range", "ETag"]
    max_age_seconds = 3600
  }
}

resource "aws_s3_bucket_policy" "this" {
  bucket     = aws_s3_bucket.this.id
  depends_on = [aws_s3_bucket_public_access_block.this]
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.this.arn, "${aws_s3_bucket.this.arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        # The longest that the content service signs a URL for; older ones are refused whatever they say.
        Sid       = "NoOlderSignatureThanSixHours"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.this.arn, "${aws_s3_bucket.this.arn}/*"]
        Condition = { NumericGreaterThan = { "s3:signatureAge" = 6 * 3600 * 1000 } }
      },
    ]
  })
}

output "name" {
  description = "The bucket's name."
  value       = aws_s3_bucket.this.bucket
}

output "arn" {
  description = "The bucket."
  value       = aws_s3_bucket.this.arn
}
