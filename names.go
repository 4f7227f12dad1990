package countersign

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The names by which the parts of a signing find each other in a tenant's Temporal namespace. They are a contract with
// other SDKs and with the server's authoriser.
const (
	TaskQueueSigning = "signing"     // workflows and ordinary activities
	TaskQueueKeys    = "signing-kms" // KMS calls alone, so that their rate can be held server side

	WorkflowRequestSigning = "RequestSigning" // the custodian: what a procurement system starts
	WorkflowSigning        = "Signing"        // the saga, a child of the custodian: what approvers signal

	WorkflowAccess    = "Access"    // keeps one grant, from its offer to its end
	WorkflowEnrolment = "Enrolment" // keeps one key of one person, from its enrolment to its retirement

	WorkflowReview = "Review" // keeps the review of a signing whose glass was broken, a child of the saga that outlives it

	WorkflowShredding = "Shredding" // keeps one proposal to shred a person's data, until a second person has answered and it is done
	WorkflowHold      = "Hold"      // keeps one order to hold evidence, or to lift a hold, until a second person has answered and it is carried out
	WorkflowRetain    = "Retain"    // keeps one order to retain evidence longer, until it is carried out

	WorkflowRenewal = "Renewal" // time-stamps the tenant's locked bundles anew

	SignalDecide   = "decide"    // to the saga, payload SignedDecision
	SignalWithdraw = "withdraw"  // to the saga, payload Withdrawal
	SignalAccept   = "accept"    // to a grant, payload SignedAcceptance
	SignalRevoke   = "revoke"    // to a grant, payload GrantEnd
	SignalGiveBack = "give-back" // to a grant, payload GrantEnd
	SignalRetire   = "retire"    // to a key, payload Retirement
	SignalClose    = "close"     // to a review, payload ReviewClosing
	SignalAnswer   = "answer"    // to an order or a shredding that waits for its second person, payload SignedOrderAnswer

	UpdateUse = "use" // of a grant or a key by the worker that checks a decision, payload Use

	QueryStatus = "status" // of each of them
)

// The roles that a tenant's file gives to those who look after it. Every other role is the tenant's to name.
const (
	RoleOwner      = "owner"      // may see and end every grant and key of the tenant
	RoleCompliance = "compliance" // sees those, and orders what becomes of locked evidence
)

// AccessID is the workflow id of a grant, named by its digest.
func AccessID(tenant, grant string) string { return "access/" + tenant + "/" + grant }

// ShreddingID is the workflow id of a proposal to shred a person's data, named by its digest.
func ShreddingID(tenant, digest string) string { return "shred/" + tenant + "/" + digest }

// EnrolmentID is the workflow id of a key, named by the digest of its credential.
func EnrolmentID(tenant, key string) string { return "enrolment/" + tenant + "/" + key }

// ReviewID is the workflow id of the review of a request's broken glass.
func ReviewID(tenant, request string) string { return "review/" + tenant + "/" + request }

// HoldID is the workflow id under which an order to hold a request's evidence, or to lift its hold, waits: one at a time.
func HoldID(tenant, request string) string { return "hold/" + tenant + "/" + request }

// RetentionID is the workflow id under which an order to retain a request's evidence longer is carried out: one at a time.
func RetentionID(tenant, request string) string { return "retention/" + tenant + "/" + request }

// RenewalID is the workflow id of a renewal of the tenant's evidence.
func RenewalID(tenant, id string) string { return "renewal/" + tenant + "/" + id }

// CustodianID is the workflow id of the custodian of a request.
func CustodianID(tenant, request string) string { return "signing/" + tenant + "/" + request }

// SagaID is the workflow id of the saga of a request; decisions name it as their signing.
func SagaID(tenant, request string) string { return "saga/" + tenant + "/" + request }

// ParseSagaID takes a saga's workflow id apart.
func ParseSagaID(id string) (tenant, request string, ok bool) {
	parts := strings.Split(id, "/")
	if len(parts) != 3 || parts[0] != "saga" || CheckTenantID(parts[1]) != nil || CheckRequestID(parts[2]) != nil {
		return "", "", false
	}
	return parts[1], parts[2], true
}

// Every object of a tenant lies under its own prefix; bucket policies bind credentials to it.

// CheckKey refuses the key of an object that is not the tenant's. Every process asks it before it reads or writes, so that the bucket's policy is not
// all there is between two tenants. A store that keeps objects in directories reads "acme/../globex/x" as globex's, so keys have no such steps.
func CheckKey(tenant, key string) error {
	rest, own := strings.CutPrefix(key, tenant+"/")
	if tenant == "" || !own {
		return fmt.Errorf("key must start with the tenant's prefix %q", tenant+"/")
	}
	for _, step := range strings.Split(rest, "/") {
		if step == "" || step == "." || step == ".." {
			return fmt.Errorf("key must have no empty step and none of one or two dots")
		}
	}
	return nil
}

// EvidencePrefix is what the keys of a tenant's locked bundles begin with.
func EvidencePrefix(tenant string) string { return tenant + "/evidence/" }

// RenewalKey is where the how-manieth evidence record of a request's bundle lies in the evidence bucket, from 1.
func RenewalKey(tenant, request string, number int) string {
	return fmt.Sprintf("%s%s/renewal-%03d.ers", EvidencePrefix(tenant), request, number)
}

// StoredRenewalKey is where the how-manieth evidence record of a concealed bundle lies that is over what is stored, from 1: it still holds when somebody in the
// bundle was shredded.
func StoredRenewalKey(tenant, request string, number int) string {
	return fmt.Sprintf("%s%s/stored-%03d.ers", EvidencePrefix(tenant), request, number)
}

// RenewalsPrefix is what the keys of the evidence records of a request's bundle begin with.
func RenewalsPrefix(tenant, request string) string {
	return EvidencePrefix(tenant) + request + "/renewal-"
}

// EvidenceKey is where the locked bundle of a request lies in the evidence bucket.
func EvidenceKey(tenant, request string) string { return tenant + "/evidence/" + request + ".asice" }

// ShreddedKey is where the locked record of a shredding lies in the evidence bucket, by the digest of what was proposed.
func ShreddedKey(tenant, digest string) string {
	return tenant + "/evidence/shredded/" + digest + ".json"
}

// EvidenceLogKey is where the proof lies, beside the locked bundle of a request, that the bundle is in the tenant's log.
func EvidenceLogKey(tenant, request string) string {
	return tenant + "/evidence/" + request + ".log.json"
}

// ReadingKey is where the locked record of one read of evidence lies in the evidence bucket. A version 7 UUID as id keeps those of a day in their order.
func ReadingKey(tenant string, at time.Time, id string) string {
	return ReadingsPrefix(tenant) + at.UTC().Format(time.DateOnly) + "/" + id + ".json"
}

// ReadingsPrefix is what the keys of a tenant's records of reads begin with.
func ReadingsPrefix(tenant string) string { return tenant + "/reads/" }

// IntentKey is where the locked intent to sign lies in the evidence bucket, written before the key is asked.
func IntentKey(tenant, request string) string { return tenant + "/intents/" + request + ".json" }

// OrderKey is where the locked record of the n-th order about a request's evidence lies in the evidence bucket, from 1.
func OrderKey(tenant, request string, n int) string {
	return fmt.Sprintf("%s%s/%03d.json", OrdersPrefix(tenant), request, n)
}

// ParseOrderKey takes the key of an order's record apart.
func ParseOrderKey(tenant, key string) (request string, n int, ok bool) {
	request, file, _ := strings.Cut(strings.TrimPrefix(key, OrdersPrefix(tenant)), "/")
	n, err := strconv.Atoi(strings.TrimSuffix(file, ".json"))
	return request, n, err == nil && n > 0 && key == OrderKey(tenant, request, n)
}

// OrdersPrefix is what the keys of a tenant's records of orders begin with.
func OrdersPrefix(tenant string) string { return tenant + "/orders/" }

// WithheldKey is where something waits in the documents bucket until its evidence is locked; nobody but the worker reads it.
func WithheldKey(tenant, request, name string) string {
	return tenant + "/withheld/" + request + "/" + name
}

// WithheldBundle is the name under which a sealed bundle of an outcome waits for its lock.
func WithheldBundle(o Outcome) string { return string(o) + bundleSuffix }

const bundleSuffix = ".asice"

// ParseWithheldBundle takes the key of a bundle that waits for its lock apart.
func ParseWithheldBundle(tenant, key string) (request string, outcome Outcome, ok bool) {
	rest, own := strings.CutPrefix(key, tenant+"/withheld/")
	request, name, _ := strings.Cut(rest, "/")
	outcome = Outcome(strings.TrimSuffix(name, bundleSuffix))
	return request, outcome, own && outcome.Valid() && key == WithheldKey(tenant, request, WithheldBundle(outcome)) && CheckRequestID(request) == nil
}

// SubjectKey is where the wrapped key of a person lies in the documents bucket, by the id of the key, which names nobody.
func SubjectKey(tenant, id string) string { return tenant + "/subjects/keys/" + id + ".json" }

// SubjectOfKey is where it lies in the documents bucket which key is a person's.
func SubjectOfKey(tenant string, who Actor) string {
	return tenant + "/subjects/by-person/" + PersonDigest(tenant, who) + ".json"
}

// PersonDigest is what a person is called in the names of objects and workflows that are gone or forgotten once their data is shredded: SHA-256 over a
// domain, the tenant, the issuer and the subject, with a zero byte between them, in hex. Whoever knows a person finds it; a guess can be compared with it.
func PersonDigest(tenant string, who Actor) string {
	return SHA256([]byte(strings.Join([]string{"countersign person v1", tenant, who.Issuer, who.Subject}, "\x00")))
}

// LogKey is where a part of the tenant's log lies in the evidence bucket.
func LogKey(tenant, name string) string { return tenant + "/log/" + name }

// DocumentKey is where an uploaded document of that digest lies in the documents bucket.
func DocumentKey(tenant, sha256 string) string { return tenant + "/documents/" + sha256 + ".pdf" }
