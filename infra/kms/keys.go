package kms

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/google/uuid"
)

// keyMetadata is AWS's KeyMetadata, without the members of features that
// aren't served.
type keyMetadata struct {
	AWSAccountId          string
	Arn                   string
	CreationDate          float64
	CustomerMasterKeySpec types.KeySpec
	DeletionDate          float64 `json:",omitempty"`
	Description           string
	Enabled               bool
	EncryptionAlgorithms  []types.EncryptionAlgorithmSpec `json:",omitempty"`
	KeyId                 string
	KeyManager            types.KeyManagerType
	KeySpec               types.KeySpec
	KeyState              types.KeyState
	KeyUsage              types.KeyUsageType
	MultiRegion           bool
	Origin                types.OriginType
	SigningAlgorithms     []types.SigningAlgorithmSpec `json:",omitempty"`
}

func (c *call) metadata(k *key) keyMetadata {
	m := keyMetadata{
		AWSAccountId:          Account,
		Arn:                   c.keyARN(k),
		CreationDate:          k.record.Created,
		CustomerMasterKeySpec: k.record.Spec,
		DeletionDate:          k.record.Deletion,
		Description:           k.record.Description,
		Enabled:               k.record.State == types.KeyStateEnabled,
		KeyId:                 k.record.ID,
		KeyManager:            types.KeyManagerTypeCustomer,
		KeySpec:               k.record.Spec,
		KeyState:              k.record.State,
		KeyUsage:              k.usage(),
		Origin:                types.OriginTypeAwsKms,
		SigningAlgorithms:     algorithmsOf(k.record.Spec),
	}
	if k.symmetric() {
		m.EncryptionAlgorithms = []types.EncryptionAlgorithmSpec{types.EncryptionAlgorithmSpecSymmetricDefault}
	}
	return m
}

type metadataOutput struct{ KeyMetadata keyMetadata }

type createKeyInput struct {
	CustomerMasterKeySpec, KeySpec types.KeySpec
	Description                    string
	KeyUsage                       types.KeyUsageType
	MultiRegion                    bool
	Origin                         types.OriginType
	Tags                           []tag
}

func (c *call) createKey(in *createKeyInput) (any, error) {
	if in.KeySpec != "" && in.CustomerMasterKeySpec != "" {
		return nil, invalid("You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated.")
	}
	r := record{ID: uuid.NewString(), Spec: in.KeySpec, Description: in.Description, State: types.KeyStateEnabled, Created: unixSeconds(c.now())}
	if r.Spec == "" {
		r.Spec = in.CustomerMasterKeySpec
	}
	if r.Spec == "" {
		r.Spec = types.KeySpecSymmetricDefault
	}
	if err := checkLength("description", len(in.Description), 0, 8192); err != nil {
		return nil, err
	}
	if in.Origin != "" && in.Origin != types.OriginTypeAwsKms || in.MultiRegion {
		return nil, fail("UnsupportedOperationException", "this KMS makes its own keys, for one region")
	}
	if err := checkSpec(r.Spec, in.KeyUsage); err != nil {
		return nil, err
	}
	var err error
	if r.Tags, err = addTags(nil, in.Tags); err != nil {
		return nil, err
	}
	if r.Material, err = newMaterial(r.Spec); err != nil {
		return nil, err
	}
	k := &key{record: r}
	if err := k.parseMaterial(); err != nil {
		return nil, err
	}
	if err := c.store.change(c.now(), func() error { return c.store.putKey(k) }); err != nil {
		return nil, err
	}
	return metadataOutput{c.metadata(k)}, nil
}

// checkSpec says whether a key of that spec may be made for that usage. An
// empty usage stands for ENCRYPT_DECRYPT, as it does at AWS.
func checkSpec(spec types.KeySpec, usage types.KeyUsageType) error {
	if usage == "" {
		usage = types.KeyUsageTypeEncryptDecrypt
	}
	switch spec {
	case types.KeySpecSymmetricDefault:
		if usage == types.KeyUsageTypeEncryptDecrypt {
			return nil
		}
	case types.KeySpecEccNistP256, types.KeySpecEccNistP384, types.KeySpecEccNistEdwards25519,
		types.KeySpecMlDsa44, types.KeySpecMlDsa65, types.KeySpecMlDsa87:
		if usage == types.KeyUsageTypeSignVerify {
			return nil
		}
	case types.KeySpecRsa2048, types.KeySpecRsa3072, types.KeySpecRsa4096:
		if usage == types.KeyUsageTypeSignVerify {
			return nil
		}
		if usage == types.KeyUsageTypeEncryptDecrypt {
			return fail("UnsupportedOperationException", "this KMS doesn't encrypt with RSA keys; ask for KeyUsage SIGN_VERIFY")
		}
	default:
		for _, known := range types.KeySpec("").Values() {
			if spec == known {
				return fail("UnsupportedOperationException", "this KMS doesn't serve the key spec %s", spec)
			}
		}
		return notInEnum("keySpec")
	}
	for _, known := range types.KeyUsageType("").Values() {
		if usage == known {
			return invalid("KeyUsage %s is not compatible with KeySpec %s", usage, spec)
		}
	}
	return notInEnum("keyUsage")
}

type keyInput struct {
	KeyId       string
	GrantTokens []string
}

func (c *call) describeKey(in *keyInput) (any, error) {
	if err := checkUse(in.GrantTokens); err != nil {
		return nil, err
	}
	k, err := c.key(in.KeyId, true)
	if err != nil {
		return nil, err
	}
	return metadataOutput{c.metadata(k)}, nil
}

type publicKeyOutput struct {
	CustomerMasterKeySpec types.KeySpec
	KeyId                 string
	KeySpec               types.KeySpec
	KeyUsage              types.KeyUsageType
	PublicKey             []byte
	SigningAlgorithms     []types.SigningAlgorithmSpec
}

func (c *call) getPublicKey(in *keyInput) (any, error) {
	if err := checkUse(in.GrantTokens); err != nil {
		return nil, err
	}
	k, err := c.key(in.KeyId, true)
	if err != nil {
		return nil, err
	}
	if err := c.usable(k); err != nil {
		return nil, err
	}
	if k.symmetric() {
		return nil, fail("UnsupportedOperationException", "%s is a symmetric key and has no public key.", c.keyARN(k))
	}
	return publicKeyOutput{
		CustomerMasterKeySpec: k.record.Spec, KeyId: c.keyARN(k), KeySpec: k.record.Spec, KeyUsage: k.usage(),
		PublicKey: k.spki, SigningAlgorithms: algorithmsOf(k.record.Spec),
	}, nil
}

type keyArgument struct{ KeyId string }

// changeKey replaces the key that argument names by what next makes of it.
func (c *call) changeKey(argument string, next func(*key) (*key, error)) (k *key, err error) {
	err = c.store.change(c.now(), func() error {
		old, err := c.lookUp(argument, false)
		if err != nil {
			return err
		}
		if k, err = next(old); err != nil {
			return err
		}
		return c.store.putKey(k)
	})
	return k, err
}

func (c *call) enableKey(in *keyArgument) (any, error) {
	return c.setState(in.KeyId, types.KeyStateEnabled)
}

func (c *call) disableKey(in *keyArgument) (any, error) {
	return c.setState(in.KeyId, types.KeyStateDisabled)
}

func (c *call) setState(argument string, state types.KeyState) (any, error) {
	_, err := c.changeKey(argument, func(k *key) (*key, error) {
		return k.with(func(r *record) { r.State = state }), c.notPendingDeletion(k)
	})
	return nil, err
}

type scheduleInput struct {
	KeyId               string
	PendingWindowInDays *int
}

type scheduleOutput struct {
	DeletionDate        float64 `json:",omitempty"`
	KeyId               string
	KeyState            types.KeyState `json:",omitempty"`
	PendingWindowInDays int            `json:",omitempty"`
}

func (c *call) scheduleKeyDeletion(in *scheduleInput) (any, error) {
	days := 30
	if in.PendingWindowInDays != nil {
		days = *in.PendingWindowInDays
	}
	if days < 7 || days > 30 {
		return nil, invalid("1 validation error detected: Value at 'pendingWindowInDays' failed to satisfy constraint: Member must have value between 7 and 30")
	}
	date := unixSeconds(c.now().Add(time.Duration(days) * 24 * time.Hour))
	k, err := c.changeKey(in.KeyId, func(k *key) (*key, error) {
		return k.with(func(r *record) {
			r.State, r.Deletion = types.KeyStatePendingDeletion, date
		}), c.notPendingDeletion(k)
	})
	if err != nil {
		return nil, err
	}
	return scheduleOutput{DeletionDate: date, KeyId: c.keyARN(k), KeyState: k.record.State, PendingWindowInDays: days}, nil
}

func (c *call) cancelKeyDeletion(in *keyArgument) (any, error) {
	k, err := c.changeKey(in.KeyId, func(k *key) (*key, error) {
		if k.record.State != types.KeyStatePendingDeletion {
			return nil, fail("KMSInvalidStateException", "%s is not pending deletion.", c.keyARN(k))
		}
		// AWS leaves the key disabled: somebody must want it back twice.
		return k.with(func(r *record) { r.State, r.Deletion = types.KeyStateDisabled, 0 }), nil
	})
	if err != nil {
		return nil, err
	}
	return scheduleOutput{KeyId: c.keyARN(k)}, nil
}
