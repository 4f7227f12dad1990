package awspolicy

// The parts of IAM's language that our files use. What isn't here is refused when a file is loaded: nobody should write what only AWS
// understands, because then no test would have tested it. Whoever adds to it reads the AWS documentation of what is added.

// resourceType is what an action's resource is.
type resourceType string

const (
	bucketResource resourceType = "bucket"
	objectResource resourceType = "object"
	keyResource    resourceType = "key"
	roleResource   resourceType = "role"
)

// action is an action with its resource, and the condition keys that are of its service alone (Service Authorization Reference).
type action struct {
	resource resourceType
	keys     []string
}

const (
	keyPrefix        = "s3:prefix"
	keyTag           = "s3:RequestObjectTag/tenant"
	keyLockMode      = "s3:object-lock-mode"
	keyLockDays      = "s3:object-lock-remaining-retention-days"
	keySignAlgorithm = "kms:SigningAlgorithm"
	keyMessageType   = "kms:MessageType"
	keyContextTenant = "kms:EncryptionContext:tenant"
)

var actions = map[string]action{
	"s3:BypassGovernanceRetention": {resource: objectResource},
	"s3:DeleteObject":              {resource: objectResource},
	"s3:DeleteObjectVersion":       {resource: objectResource},
	"s3:GetObject":                 {resource: objectResource},
	"s3:GetObjectLegalHold":        {resource: objectResource},
	"s3:GetObjectRetention":        {resource: objectResource},
	"s3:GetObjectVersion":          {resource: objectResource},
	"s3:PutObject":                 {objectResource, []string{keyTag, keyLockMode, keyLockDays}},
	"s3:PutObjectLegalHold":        {resource: objectResource},
	"s3:PutObjectRetention":        {objectResource, []string{keyLockMode, keyLockDays}},
	"s3:PutObjectTagging":          {objectResource, []string{keyTag}},

	"s3:CreateBucket":                     {resource: bucketResource},
	"s3:DeleteBucket":                     {resource: bucketResource},
	"s3:DeleteBucketPolicy":               {resource: bucketResource},
	"s3:GetBucketObjectLockConfiguration": {resource: bucketResource},
	"s3:GetBucketPolicy":                  {resource: bucketResource},
	"s3:GetBucketVersioning":              {resource: bucketResource},
	"s3:ListBucket":                       {bucketResource, []string{keyPrefix}},
	"s3:ListBucketVersions":               {bucketResource, []string{keyPrefix}},
	"s3:PutBucketAcl":                     {resource: bucketResource},
	"s3:PutBucketObjectLockConfiguration": {resource: bucketResource},
	"s3:PutBucketOwnershipControls":       {resource: bucketResource},
	"s3:PutBucketPolicy":                  {resource: bucketResource},
	"s3:PutBucketPublicAccessBlock":       {resource: bucketResource},
	"s3:PutBucketTagging":                 {resource: bucketResource},
	"s3:PutBucketVersioning":              {resource: bucketResource},
	"s3:PutEncryptionConfiguration":       {resource: bucketResource},
	"s3:PutLifecycleConfiguration":        {resource: bucketResource},
	"s3:PutReplicationConfiguration":      {resource: bucketResource},

	"kms:CancelKeyDeletion":    {resource: keyResource},
	"kms:Decrypt":              {keyResource, []string{keyContextTenant}},
	"kms:DescribeKey":          {resource: keyResource},
	"kms:DisableKey":           {resource: keyResource},
	"kms:EnableKey":            {resource: keyResource},
	"kms:GenerateDataKey":      {keyResource, []string{keyContextTenant}},
	"kms:GetKeyPolicy":         {resource: keyResource},
	"kms:GetKeyRotationStatus": {resource: keyResource},
	"kms:GetPublicKey":         {resource: keyResource},
	"kms:ListResourceTags":     {resource: keyResource},
	"kms:PutKeyPolicy":         {resource: keyResource},
	"kms:ScheduleKeyDeletion":  {resource: keyResource},
	"kms:Sign":                 {keyResource, []string{keySignAlgorithm, keyMessageType}},
	"kms:TagResource":          {resource: keyResource},
	"kms:UntagResource":        {resource: keyResource},
	"kms:UpdateKeyDescription": {resource: keyResource},

	"sts:AssumeRole": {resource: roleResource},
	"sts:TagSession": {resource: roleResource},
}

// everyS3Action is the one pattern of actions that is known.
const everyS3Action = "s3:*"

// KnownAction says whether policies can speak of an action.
func KnownAction(name string) bool {
	_, known := actions[name]
	return known
}

// valueType is what the values of a condition key are.
type valueType string

const (
	stringValue valueType = "string"
	arnValue    valueType = "ARN"
	boolValue   valueType = "boolean"
	numberValue valueType = "number"
	addressType valueType = "address"
)

type conditionKey struct {
	values valueType
	many   bool // the request can hold several values
}

var conditionKeys = map[string]conditionKey{
	"aws:PrincipalArn":        {values: arnValue},
	"aws:PrincipalTag/tenant": {values: stringValue},
	"aws:RequestTag/tenant":   {values: stringValue},
	"aws:ResourceTag/tenant":  {values: stringValue},
	"aws:SecureTransport":     {values: boolValue},
	"aws:SourceIp":            {values: addressType},
	"aws:TagKeys":             {values: stringValue, many: true},
	keySignAlgorithm:          {values: stringValue},
	keyMessageType:            {values: stringValue},
	keyContextTenant:          {values: stringValue},
	keyPrefix:                 {values: stringValue},
	keyTag:                    {values: stringValue},
	keyLockMode:               {values: stringValue},
	keyLockDays:               {values: numberValue},
}

// policyVariables are the keys that may stand as ${...} in a resource or a string.
var policyVariables = map[string]bool{"aws:PrincipalTag/tenant": true}
