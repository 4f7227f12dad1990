package awsgate

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/countersign-dev/countersign/infra/awspolicy"
)

// Keys finds a key by id, ARN or alias: its ARN and its tags. It is asked for each request, so that a new tag counts at once.
type Keys interface {
	Find(id string) (arn string, tags map[string]string, found bool)
}

const (
	// maxKMSRequest bounds a request's body, as the service behind does.
	maxKMSRequest = 64 << 10
	kmsTarget     = "TrentService."
	kmsType       = "application/x-amz-json-1.1"
)

// KMS puts the gate before a key service. What is no call of KMS (POST /) is passed on: the service answers its counters and refuses the rest.
func (g *Gate) KMS(keys Keys, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/" {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxKMSRequest))
		if err != nil {
			refuseKMS(w, "SerializationException", "the request's body ended early or is too large", "")
			return
		}
		sum := sha256.Sum256(body)
		sent := *r
		sent.ContentLength = int64(len(body))
		s, fault := g.caller(&sent, "kms", hex.EncodeToString(sum[:]))
		if fault != nil {
			refuseKMS(w, fault.kms, fault.message, "")
			return
		}
		if !s.Root {
			if d, action := g.judgeKMS(s, r, keys, body); !d.Allowed {
				// The text of AWS for a caller without any permission. It is the same for a key that doesn't exist and for a key of somebody else.
				refuseKMS(w, "AccessDeniedException", "User: "+s.user()+" is not authorized to perform: "+action+
					" on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access", d.By)
				return
			}
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

func (g *Gate) judgeKMS(s session, r *http.Request, keys Keys, body []byte) (awspolicy.Decision, string) {
	name, ok := strings.CutPrefix(strings.Join(r.Header.Values("X-Amz-Target"), ","), kmsTarget)
	action := "kms:" + name
	if !ok || !awspolicy.KnownAction(action) {
		return awspolicy.Decision{By: errUnknown.Error()}, "this operation"
	}
	// The service behind reads with the same decoder, so that a member with another case or a second one means the same to both.
	var in struct {
		KeyId, SigningAlgorithm, MessageType string
		EncryptionContext                    map[string]string
	}
	if err := json.Unmarshal(body, &in); err != nil || in.KeyId == "" {
		return awspolicy.Decision{By: errUnknown.Error()}, action
	}
	c := s.context(r)
	if in.SigningAlgorithm != "" {
		c["kms:SigningAlgorithm"] = []string{in.SigningAlgorithm}
	}
	if tenant, says := in.EncryptionContext["tenant"]; says {
		c["kms:EncryptionContext:tenant"] = []string{tenant}
	}
	if name == "Sign" {
		c["kms:MessageType"] = []string{"RAW"} // is what KMS takes where nothing is said
		if in.MessageType != "" {
			c["kms:MessageType"] = []string{in.MessageType}
		}
	}
	arn, tags, found := keys.Find(in.KeyId)
	tenant, tagged := tags["tenant"]
	if !found {
		return awspolicy.Decision{By: "no statement allows it"}, action
	}
	if tagged {
		c["aws:ResourceTag/tenant"] = []string{tenant}
	}
	return awspolicy.Decide(awspolicy.Request{Principal: s.role, Action: action, Resource: arn, Context: c}, []*awspolicy.Policy{s.policy}, g.keys[tenant]), action
}

func refuseKMS(w http.ResponseWriter, code, message, by string) {
	if by != "" {
		w.Header().Set(DeniedBy, by)
	}
	w.Header().Set("Content-Type", kmsType)
	w.Header().Set("X-Amzn-RequestId", uuid.NewString())
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(struct { // a caller who hung up can't be told
		Type    string `json:"__type"`
		Message string `json:"message"`
	}{code, message})
}
