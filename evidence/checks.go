package evidence

import "slices"

// NamedCheck is one check of a bundle, in words for whoever reads a report without having read the code.
type NamedCheck struct {
	Name string `json:"check"`
	// Proves is what holds where it passes, and Else why it may be that nothing was recorded; empty where it always passes or fails.
	Proves string `json:"proves"`
	Else   string `json:"else,omitempty"`
}

const (
	noSignature  = "the key was not used"
	notAdmitted  = "the signing was not admitted"
	noneDecided  = "no decision counted"
	checkSeal    = "seal"
	checkTime    = "time"
	checkTokens  = "id tokens"
	checkOwnKeys = "own keys"
	checkGrants  = "grants"
)

// NamedChecks are all checks of Verify, in the order of its report: each is in every report, once.
func NamedChecks() []NamedCheck {
	return []NamedCheck{
		{"container", "The file is one well-formed evidence container (ASiC-E), byte for byte as it was written, with nothing before, between or after its files.", ""},
		{"manifest", "Each file in it is listed, and has the SHA-256 digest that the list gives.", ""},
		{checkSeal, "The list was signed with the key of the tenant, whose certificate leads to the tenant's root that you gave and was valid at the time of the stamp.", ""},
		{checkTime, "A time-stamping authority that leads to the root that you gave stamped this very seal, so it existed then and was not back-dated.", ""},
		{"history", "The complete record of the signing's workflow is there, from its one start to its one end, and can be read in one way only.", ""},
		{"statement", "Every line of the summary follows from that record: it is derived again and compared byte for byte.", ""},
		{"outcome", "The record allows the ending that is stated: completed needs a signature, rejected a counted rejection, and so on.", ""},
		{"document", "The document in the file is the one that was requested, by its digest.", "its bytes were not kept"},
		{"files", "The readable copies of decisions, issuers and policy are those of the record, and the files are all there, in their one order, and no file more.", ""},
		{postQuantumCheck, "All other files were signed as well with a key of the tenant's that a quantum computer can't forge (ML-DSA), and that you gave.", "the tenant's file named no key for one at intake, or you gave none"},
		{"context", "One transaction reaches from the request to the signature: tenant, request, requester, document, plan and policy are the same at each step.", notAdmitted},
		{checkIssuers, "The identity providers that people are proven by are those that everybody approved with the transaction: nobody was added or changed later.", "the signing was not admitted, or the build did not name them in the transaction"},
		{"decisions", "Each counted decision is about exactly this transaction, was sent by the person whom it names, and is proven by all that it stands on: the next three checks.", notAdmitted},
		{checkDecisionTime, "A time-stamping authority stamped each proven decision when it was checked, so nobody can date it otherwise.", "no decision was proven, or the build took no time-stamps of decisions"},
		{checkTokens, "For each counted decision, the person's own identity provider signed a fresh login that names this decision's digest.", noneDecided},
		{checkOwnKeys, "Where a passkey or device key signed a decision as well: it is that person's, enrolled through their own identity provider, and signed this decision.", "no counted decision was signed by a key of a person's own"},
		{checkGrants, "Where somebody decided for somebody else: each grant of the chain was given and accepted by those whom it names, only narrows, and was in force.", "nobody decided for somebody else"},
		{"policy", "Each question to the policy is asked again of the frozen policy set, and has the same answer; what counted was allowed.", notAdmitted},
		{"quorum", "The approvals that the key was asked with are enough: stage by stage, counted again, one vote for each person, and none the requester's.", noSignature},
		{"document signature", "The document's own signature is over these bytes, by the key that sealed, and time-stamped after the intent and every approval.", noSignature},
		{"log", "The intent to sign was in the tenant's tamper-evident log before the key was asked.", "the log's public key was not given, the key was not used, or the build kept no log"},
		{checkRevocation, "For each certificate of the seal that names a revocation list, the list is kept in the seal, and did not revoke it at the time of the stamp.", "no certificate names a list, or the build kept none"},
		{CheckRenewal, "The bundle was time-stamped anew (RFC 4998) before what its time-stamp stands on had ended.", "no evidence record was given"},
		{endingCheck, "How it ended is in the tenant's tamper-evident log, with the digest of exactly this file.", "the proof, which lies beside the bundle, or the log's public key was not given"},
		{"lock", "The store says that these bytes are locked against deletion (COMPLIANCE) beyond the time of the seal. It is the store's word, and not signed.", "no record of the lock was given: it is kept at the store, not in the file"},
	}
}

// complete gives every check that was not reached its line, and puts all into their order.
func (r *Report) complete() {
	checks := NamedChecks()
	place := make(map[string]int, len(checks))
	for i, c := range checks {
		place[c.Name] = i
	}
	stopped := ""
	seen := make([]bool, len(checks))
	for _, f := range r.Findings {
		seen[place[f.Check]] = true
		if f.State == Fail && stopped == "" {
			stopped = f.Check
		}
	}
	for i, c := range checks {
		if !seen[i] {
			r.notRecorded(c.Name, "not looked at, because "+stopped+" failed")
		}
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return place[a.Check] - place[b.Check] })
}
