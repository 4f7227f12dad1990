package kms

import (
	"bytes"
	"crypto/subtle"
	"encoding/json"
	"io"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/google/uuid"
)

// operation is one entry of the API.
type operation struct {
	// forTenants is whether anyone but an Admin may call it.
	forTenants bool
	run        func(c *call, body []byte) (any, error)
}

// operations is the API; what isn't here is answered UnknownOperationException.
var operations = map[string]operation{
	"DescribeKey":     {true, decoded((*call).describeKey)},
	"GetPublicKey":    {true, decoded((*call).getPublicKey)},
	"Sign":            {true, decoded((*call).sign)},
	"Verify":          {true, decoded((*call).verify)},
	"GenerateDataKey": {true, decoded((*call).generateDataKey)},
	"Encrypt":         {true, decoded((*call).encrypt)},
	"Decrypt":         {true, decoded((*call).decrypt)},
	"ListAliases":     {true, decoded((*call).listAliases)},

	"CreateKey":           {false, decoded((*call).createKey)},
	"ListKeys":            {false, decoded((*call).listKeys)},
	"EnableKey":           {false, decoded((*call).enableKey)},
	"DisableKey":          {false, decoded((*call).disableKey)},
	"ScheduleKeyDeletion": {false, decoded((*call).scheduleKeyDeletion)},
	"CancelKeyDeletion":   {false, decoded((*call).cancelKeyDeletion)},
	"CreateAlias":         {false, decoded((*call).createAlias)},
	"UpdateAlias":         {false, decoded((*call).updateAlias)},
	"DeleteAlias":         {false, decoded((*call).deleteAlias)},
	"TagResource":         {false, decoded((*call).tagResource)},
	"UntagResource":       {false, decoded((*call).untagResource)},
	"ListResourceTags":    {false, decoded((*call).listResourceTags)},
}

// decoded turns a function of a typed request into an operation's run.
func decoded[In any](run func(*call, *In) (any, error)) func(*call, []byte) (any, error) {
	return func(c *call, body []byte) (any, error) {
		in := new(In)
		if err := decodeRequest(body, in); err != nil {
			return nil, err
		}
		return run(c, in)
	}
}

// decodeRequest reads one JSON object and nothing after it. A member that
// the request's type doesn't have is an error: see the package's comment.
func decodeRequest(body []byte, in any) error {
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return fail("SerializationException", "the body must be a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil {
		if member, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
			return fail("UnsupportedOperationException", "this KMS doesn't serve the request member %.80s", member)
		}
		// The decoder's text could quote plaintext.
		return fail("SerializationException", "the body isn't a valid request of this operation")
	}
	if _, err := d.Token(); err != io.EOF {
		return fail("SerializationException", "something follows the JSON object")
	}
	return nil
}

// call is one authenticated request.
type call struct {
	*Service
	caller    Credential
	operation string
}

// denied has the text of AWS for a caller without any permission. It names
// what the caller sent and nothing else, so that it is the same for a key
// that doesn't exist and for a key of somebody else.
func (c *call) denied() error {
	return fail("AccessDeniedException", "User: arn:aws:iam::%s:user/%s is not authorized to perform: kms:%s on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access",
		Account, c.caller.AccessKeyID, c.operation)
}

func (c *call) arn(resource string) string {
	return "arn:aws:kms:" + c.region + ":" + Account + ":" + resource
}
func (c *call) keyARN(k *key) string { return c.arn("key/" + k.record.ID) }

// allowed is the rule of access: aws:PrincipalTag/tenant equals
// aws:ResourceTag/tenant (AWS KMS Developer Guide, ABAC), or an Admin.
func (c *call) allowed(k *key) bool {
	if c.caller.Admin || c.caller.AnyTenant {
		return true
	}
	if c.caller.OpensAlone && c.operation != "Decrypt" {
		return false
	}
	tenant, tagged := k.record.Tags["tenant"]
	return tagged && c.caller.Tenant != "" && subtle.ConstantTimeCompare([]byte(tenant), []byte(c.caller.Tenant)) == 1
}

// missing is the answer for what isn't there: only an Admin learns that.
func (c *call) missing(format string, args ...any) error {
	if !c.caller.Admin {
		return c.denied()
	}
	return fail("NotFoundException", format, args...)
}

var aliasPattern = regexp.MustCompile(`^alias/[a-zA-Z0-9/_-]+$`)

// lookUp finds the key that a key argument names: a key id or a key's ARN,
// with orAlias also an alias name or an alias ARN. Call it inside read or
// change. It is the only way from an argument to a key, and it checks access.
func (c *call) lookUp(argument string, orAlias bool) (*key, error) {
	if err := checkLength("keyId", len(argument), 1, 2048); err != nil {
		return nil, err
	}
	name := argument
	if strings.HasPrefix(argument, "arn:") {
		parts := strings.SplitN(argument, ":", 6)
		if len(parts) != 6 || parts[2] != "kms" {
			return nil, fail("InvalidArnException", "the argument isn't the ARN of a KMS key or alias")
		}
		if !strings.HasPrefix(argument, c.arn("")) {
			return nil, c.missing("Invalid arn %s", parts[3])
		}
		name = parts[5]
		id, isKey := strings.CutPrefix(name, "key/")
		if !isKey && !strings.HasPrefix(name, "alias/") {
			return nil, fail("InvalidArnException", "the argument isn't the ARN of a KMS key or alias")
		}
		if isKey {
			name = id
		}
	}
	id := name
	if strings.HasPrefix(name, "alias/") {
		a, exists := c.store.alias[name]
		if !orAlias || !exists {
			return nil, c.missing("Alias %s is not found.", c.arn(name))
		}
		id = a.Target
	}
	k, exists := c.store.keys[id]
	if !exists || k.goneAt(c.now()) {
		if uuid.Validate(id) != nil {
			return nil, c.missing("Invalid keyId '%s'", name)
		}
		return nil, c.missing("Key '%s' does not exist", c.arn("key/"+id))
	}
	if !c.allowed(k) {
		return nil, c.denied()
	}
	return k, nil
}

// key is lookUp for operations that only read.
func (c *call) key(argument string, orAlias bool) (k *key, err error) {
	err = c.store.read(func() error {
		k, err = c.lookUp(argument, orAlias)
		return err
	})
	return k, err
}

// keyForUse finds a key for a cryptographic operation: it must be enabled and
// have that usage.
func (c *call) keyForUse(argument string, usage types.KeyUsageType) (*key, error) {
	k, err := c.key(argument, true)
	if err != nil {
		return nil, err
	}
	if err := c.usable(k); err != nil {
		return nil, err
	}
	if k.usage() != usage {
		return nil, fail("InvalidKeyUsageException", "%s key usage is %s which is not valid for %s.", c.keyARN(k), k.usage(), c.operation)
	}
	return k, nil
}

func (c *call) usable(k *key) error {
	if k.record.State == types.KeyStateDisabled {
		return fail("DisabledException", "%s is disabled.", c.keyARN(k))
	}
	return c.notPendingDeletion(k)
}

func (c *call) notPendingDeletion(k *key) error {
	if k.record.State == types.KeyStatePendingDeletion {
		return fail("KMSInvalidStateException", "%s is pending deletion.", c.keyARN(k))
	}
	return nil
}

// checkUse checks the members that all cryptographic operations have.
func checkUse(grantTokens []string) error {
	if len(grantTokens) > 0 {
		return fail("InvalidGrantTokenException", "this KMS has no grants")
	}
	return nil
}

// dryRun is AWS's answer to a DryRun request that would have succeeded.
func dryRun() error {
	return failStatus(412, "DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
}
