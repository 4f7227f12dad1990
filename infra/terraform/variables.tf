variable "documents_bucket" {
  description = "Name of the bucket of documents."
  type        = string
  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.documents_bucket))
    error_message = "3 to 63 lower-case letters, digits and hyphens."
  }
}

variable "evidence_bucket" {
  description = "Name of the bucket of evidence. It is another one, because Object Lock is a whole bucket's."
  type        = string
  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.evidence_bucket))
    error_message = "3 to 63 lower-case letters, digits and hyphens."
  }
}

variable "tenants" {
  description = "The tenants by id, each with the kind of its seal key and, where its evidence gets a post-quantum signature, of the key for that; and whether it has a key under which personal data in its evidence is concealed, so that it can be shredded."
  type        = map(object({ key_spec = string, post_quantum_key_spec = optional(string), personal_data_key = optional(bool, false) }))
  validation {
    condition     = alltrue([for id, tenant in var.tenants : can(regex("^[a-z][a-z0-9-]{1,30}$", id)) && contains(["ECC_NIST_P256", "ECC_NIST_P384"], tenant.key_spec) && (tenant.post_quantum_key_spec == null ? true : contains(["ML_DSA_44", "ML_DSA_65", "ML_DSA_87"], tenant.post_quantum_key_spec))])
    error_message = "An id has 2 to 31 lower-case letters, digits and hyphens, a letter first; key_spec is ECC_NIST_P256 or ECC_NIST_P384; post_quantum_key_spec is ML_DSA_44, ML_DSA_65 or ML_DSA_87, or left out."
  }
}

variable "processes" {
  description = "ARNs of the roles under which the processes worker and starter run: they take the tenants' roles."
  type        = object({ worker = string, starter = string })
}

variable "minimum_retention_days" {
  description = "Evidence must be locked for at least so long. Leave a day's distance below evidence.retention of the tenants' files: AWS doesn't say how it rounds."
  type        = number
  validation {
    condition     = var.minimum_retention_days >= 1 && floor(var.minimum_retention_days) == var.minimum_retention_days
    error_message = "Whole days, at least 1."
  }
}

variable "withheld_days" {
  description = "What is withheld expires after so long: much longer than evidence.releaseWithin of the tenants' files."
  type        = number
  default     = 90
}
