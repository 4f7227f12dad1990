package kms

// knownDifferences lists, for each third-party KMS and version, the clauses
// that it breaks, and how it differs from AWS. The clauses' names are keys.
var knownDifferences = map[string]map[string]string{
	"moto-5.2.5": differing(
		difference{"moto has no Ed25519 keys", []string{
			"DescribeKey tells what CreateKey made, ECC_NIST_EDWARDS25519",
			"ECC_NIST_EDWARDS25519 signs with ED25519_SHA_512, RAW",
			"ECC_NIST_EDWARDS25519 signs with ED25519_SHA_512, and never finds a tampered one valid",
			"ECC_NIST_EDWARDS25519 signs with ED25519_PH_SHA_512, DIGEST",
			"ECC_NIST_EDWARDS25519 signs with ED25519_PH_SHA_512, and never finds a tampered one valid",
			"ED25519_PH_SHA_512 takes no RAW",
			"ED25519_SHA_512 takes no DIGEST",
			"a key that is disabled isn't used, ECC_NIST_EDWARDS25519",
			"a key that is pending deletion isn't used, ECC_NIST_EDWARDS25519",
			"the answers name the ARN of the key, ECC_NIST_EDWARDS25519",
		}},
		difference{"moto has no ML-DSA keys, so it can't be asked about them", []string{
			"DescribeKey tells what CreateKey made, ML_DSA_65",
			"EXTERNAL_MU has 64 bytes",
			"ML-DSA doesn't sign with ECDSA",
			"ML_DSA_44 signs with ML_DSA_SHAKE_256, EXTERNAL_MU",
			"ML_DSA_44 signs with ML_DSA_SHAKE_256, RAW",
			"ML_DSA_44 signs with ML_DSA_SHAKE_256, and never finds a tampered one valid",
			"ML_DSA_65 signs with ML_DSA_SHAKE_256, EXTERNAL_MU",
			"ML_DSA_65 signs with ML_DSA_SHAKE_256, RAW",
			"ML_DSA_65 signs with ML_DSA_SHAKE_256, and never finds a tampered one valid",
			"ML_DSA_87 signs with ML_DSA_SHAKE_256, EXTERNAL_MU",
			"ML_DSA_87 signs with ML_DSA_SHAKE_256, RAW",
			"ML_DSA_87 signs with ML_DSA_SHAKE_256, and never finds a tampered one valid",
			"ML_DSA_65, RAW of 4,097 bytes is invalid",
			"ML_DSA_SHAKE_256 takes no DIGEST",
			"a key that is disabled isn't used, ML_DSA_65",
			"a key that is pending deletion isn't used, ML_DSA_65",
			"the answers name the ARN of the key, ML_DSA_65",
		}},
		difference{"moto ignores MessageType and hashes a digest once more", []string{
			"ECC_NIST_P256 signs with ECDSA_SHA_256, DIGEST",
			"ECC_NIST_P384 signs with ECDSA_SHA_384, DIGEST",
			"RSA_2048 signs with RSASSA_PKCS1_V1_5_SHA_256, DIGEST",
			"RSA_2048 signs with RSASSA_PKCS1_V1_5_SHA_384, DIGEST",
			"RSA_2048 signs with RSASSA_PKCS1_V1_5_SHA_512, DIGEST",
			"RSA_2048 signs with RSASSA_PSS_SHA_256, DIGEST",
			"RSA_2048 signs with RSASSA_PSS_SHA_384, DIGEST",
			"RSA_2048 signs with RSASSA_PSS_SHA_512, DIGEST",
			"RSA_3072 signs with RSASSA_PSS_SHA_256, DIGEST",
			"RSA_4096 signs with RSASSA_PSS_SHA_512, DIGEST",
			"a SHA-256 digest has 32 bytes",
			"a SHA-384 digest has 48 bytes",
			"a message type that doesn't exist is invalid",
			"P-256 takes no EXTERNAL_MU",
		}},
		difference{"moto takes the longest salt that fits", []string{
			"a PSS salt is as long as the digest",
		}},
		difference{"moto answers SignatureValid false", []string{
			"a wrong signature is an error, not an answer",
		}},
		difference{"moto has no limit of 4,096 bytes for messages", []string{
			"a RAW message of 4,097 bytes is invalid",
		}},
		difference{"moto answers ValidationException for an algorithm of another key spec", []string{
			"P-256 doesn't sign with SHA-384",
			"P-256 doesn't sign with ML_DSA_SHAKE_256",
			"P-256 doesn't sign with an RSA algorithm",
			"RSA doesn't sign with ECDSA",
		}},
		difference{"moto answers ValidationException for a key of another usage", []string{
			"a symmetric key doesn't sign",
		}},
		difference{"moto gives each key a symmetric secret and an asymmetric one", []string{
			"a signing key doesn't encrypt",
			"a signing key makes no data key",
			"a symmetric key has no public key",
		}},
		difference{"moto uses and changes keys in whatever state they are", []string{
			"a deletion that isn't pending can't be cancelled",
			"a disabled key's public key isn't served",
			"a key pending deletion isn't changed",
			"a key that is disabled isn't used, ECC_NIST_P256",
			"a key that is disabled isn't used, ECC_NIST_P384",
			"a key that is disabled isn't used, RSA_2048",
			"a key that is disabled isn't used, SYMMETRIC_DEFAULT",
			"a key that is pending deletion isn't used, ECC_NIST_P256",
			"a key that is pending deletion isn't used, ECC_NIST_P384",
			"a key that is pending deletion isn't used, RSA_2048",
			"a key that is pending deletion isn't used, SYMMETRIC_DEFAULT",
		}},
		difference{"moto doesn't check a new key's usage and tags", []string{
			"CreateKey refuses ENCRYPT_DECRYPT for P-256",
			"CreateKey refuses SIGN_VERIFY for a symmetric key",
			"CreateKey refuses a tag twice",
		}},
		difference{"moto leaves KeyUsage empty", []string{
			"CreateKey without a spec makes a symmetric key",
		}},
		difference{"moto answers AccessDeniedException", []string{
			"Decrypt with another key is refused",
		}},
		difference{"moto joins names and values without a separator before it authenticates them", []string{
			"the limits of an encryption context are unambiguous",
		}},
		difference{"moto fails with status 500 when DisableKey or EnableKey gets an ARN", []string{
			"EnableKey and DisableKey take an ARN",
		}},
		difference{"moto ignores Limit and lists all keys at once", []string{
			"ListKeys pages through all keys",
		}},
		difference{"moto lets an alias move to a key of another usage", []string{
			"UpdateAlias keeps the key's usage",
		}},
		difference{"moto takes any number of days", []string{
			"a deletion waits 7 to 30 days",
		}},
		difference{"moto ignores DryRun", []string{
			"a dry run signs nothing",
		}},
		difference{"moto ignores the region of an ARN", []string{
			"a key of another region isn't found",
		}},
		difference{"moto takes the alias alias/", []string{
			"an alias name isn't empty",
		}},
		difference{"moto answers with the id where AWS answers with the ARN", []string{
			"the answers name the ARN of the key, ECC_NIST_P256",
		}},
	),
}

// difference is one way in which a KMS differs, and the clauses that it breaks.
type difference struct {
	why     string
	clauses []string
}

func differing(all ...difference) map[string]string {
	byClause := map[string]string{}
	for _, d := range all {
		for _, name := range d.clauses {
			byClause[name] = d.why
		}
	}
	return byClause
}
